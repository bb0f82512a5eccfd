"""`fewgood cluster check`: each fault is found, at its line, with its key and what is allowed."""

import re
from pathlib import Path

import pytest

from fewgood.errors import SpecError
from fewgood_cluster.check import check_files

# file, what is replaced, by what, the line that is named (its text), the message.
BROKEN = [
    (
        "raycluster.yaml",
        "mode: token",
        "mode: disabled",
        "mode: disabled",
        "spec.authOptions.mode: authentication is off",
    ),
    (
        "raycluster.yaml",
        "  authOptions:\n    mode: token\n",
        "",
        "spec:",
        "spec.authOptions.mode: authentication is off (None)",
    ),
    ("raycluster.yaml", "mode: token", "mode: tokens", "mode: tokens", "is 'tokens', allowed is disabled, token"),
    ("raycluster.yaml", "groupName: cpu", "groupname: cpu", "groupname: cpu", "unknown field, did you mean groupName?"),
    ("raycluster.yaml", "groupName: cpu", "groupname: cpu", "- groupname: cpu", "lacks groupName"),
    (
        "raycluster.yaml",
        "replicas: 2",
        "replicas: two",
        "replicas: two",
        "is 'two', allowed is a value of type integer",
    ),
    ("raycluster.yaml", "ClusterIP", "LoadBalancer", "serviceType: LoadBalancer", "allowed is ClusterIP"),
    ("raycluster.yaml", "ClusterIP", "NodePort", "serviceType: NodePort", "allowed is ClusterIP"),
    ("raycluster.yaml", 'num-cpus: "0"', "num-cpus: 0", "num-cpus: 0", "is 0, allowed is a value of type string"),
    ("raycluster.yaml", "fewgood:0.1.0", "fewgood:latest", "image: ", "is not pinned"),
    ("raycluster.yaml", "s3://bucket", "/mnt", "spec:", "FEWGOOD_STORE is '/mnt/fewgood"),
    ("raycluster.yaml", "name: FEWGOOD_STORE", "name: OTHER", "spec:", "FEWGOOD_STORE is not set"),
    (
        "raycluster.yaml",
        "ray.io/v1\n",
        "ray.io/v7\n",
        "apiVersion: ray.io/v7",
        "allowed is ray.io/v1 or ray.io/v1alpha1",
    ),
    ("raycluster.yaml", "serviceType: ClusterIP", "enableIngress: true", "enableIngress: true", "kubectl port-forward"),
    (
        "raycluster.yaml",
        "containerPort: 8265}",
        "containerPort: 8265, hostPort: 8265}",
        "hostPort: 8265",
        "machine's own",
    ),
    (
        "raycluster.yaml",
        "automountServiceAccountToken: false",
        "hostNetwork: true",
        "hostNetwork: true",
        "leave it out",
    ),
    (
        "raycluster.yaml",
        'valueFrom: {secretKeyRef: {name: "fewgood-store", key: AWS_SECRET_ACCESS_KEY}}',
        "value: abcdef",
        "value: abcdef",
        "stands in the file",
    ),
    ("raycluster.yaml", 'rayVersion: "', 'rayVersion: "1.', 'rayVersion: "1.', "2.52.0 or newer"),
    (
        "raycluster.yaml",
        "kind: RayCluster",
        "kind: RayCron",
        "kind: RayCron",
        "allowed is RayCluster, RayJob, RayService",
    ),
    ("raycluster.yaml", "namespace:", "name: twice\n  namespace:", "name: twice", "stands twice"),
    ("raycluster.yaml", "  mode: token", " mode: [token", "headGroupSpec:", "is no YAML"),
    ("rayjob.yaml", "mode: token", "mode: disabled", "mode: disabled", "spec.rayClusterSpec.authOptions.mode"),
    ("rayjob.yaml", "submissionMode:", "submitMode:", "submitMode:", "did you mean submissionMode?"),
    ("rayjob.yaml", "rayClusterSpec:", "rayclusterSpec:", "spec:", "no cluster is described here"),
    ("rayservice.yaml", "mode: token", "mode: disabled", "mode: disabled", "spec.rayClusterConfig.authOptions.mode"),
    ("rayservice.yaml", "import_path: ", "import: ", "serveConfigV2: |", "Serve's schema refuses it"),
    ("ray-up-hosts.yaml", "RAY_AUTH_MODE=token", "A=b", "- >-", "authentication is off"),
    ("ray-up-hosts.yaml", "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0", "- >-", "shows the dashboard"),
    ("ray-up-hosts.yaml", "fewgood:0.1.0", "fewgood", "image: ", "is not pinned"),
    ("ray-up-hosts.yaml", "-e FEWGOOD_STORE", "-e OTHER", "- >-", "FEWGOOD_STORE is not set"),
    ("ray-up-hosts.yaml", "~/.ray/auth_token: ~/.ray/auth_token", "/a: /b", "file_mounts:", "the hosts get no token"),
    ("ray-up-hosts.yaml", "max_workers:", "max_worker:", "max_worker:", "unknown field, allowed is auth"),
    ("ray-up-hosts.yaml", "head_ip:", "headip:", "provider:", "Ray refuses it: Please supply a `head_ip`"),
    ("ray-up-hosts.yaml", "type: local", "type: nowhere", "provider:", "Unsupported node provider: nowhere"),
    ("ray-up-hosts.yaml", "ray start --head", "sleep", "head_start_ray_commands:", "no `ray start` command"),
    (
        "ray-up-hosts.yaml",
        "RAY_USAGE_STATS_ENABLED=0",
        "RAY_AUTH_TOKEN=0123",
        "RAY_AUTH_TOKEN=0123",
        "stands in the file",
    ),
    (
        "ray-up-aws.yaml",
        "head_node_type: head",
        "head_node_type: other",
        "provider:",
        "must be one of `available_node_types`",
    ),
    ("ray-up-aws.yaml", "min_workers: 0", "min_workers: many", "min_workers: many", "Ray's schema refuses it"),
]


@pytest.mark.parametrize(
    ("name", "old", "new", "line", "said"), BROKEN, ids=[f"{row[0]}-{row[2][:20]}" for row in BROKEN]
)
def test_a_fault_is_found_at_its_line(name, old, new, line, said, written, crds):
    path = written / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    errors = [finding for finding in check_files([path], definitions=crds) if finding.level == "error"]
    meant = [finding for finding in errors if said in f"{finding.key}: {finding.message}"]
    assert meant, [str(finding) for finding in errors]
    lines = path.read_text().splitlines()
    assert line in lines[meant[0].line - 1], lines[meant[0].line - 1]
    assert str(meant[0]).startswith(f"{path}:{meant[0].line}: error: ")


def rule(source: str, first: int, last: int, protocol: str = "tcp") -> str:
    return (
        "  security_group:\n    GroupName: g\n    IpPermissions:\n"
        f"      - {{FromPort: {first}, ToPort: {last}, IpProtocol: '{protocol}', IpRanges: [{{CidrIp: {source}}}]}}\n"
    )


@pytest.mark.parametrize(
    ("rules", "level", "said"),
    [
        (rule("0.0.0.0/0", 8265, 8265), "error", "opens port 8265 to everybody"),
        (rule("0.0.0.0/0", 1024, 65535), "error", "opens port 8265, 10001, 6379 to everybody"),
        (rule("0.0.0.0/0", -1, -1, "-1"), "error", "to everybody: whoever"),
        (
            rule("'::/0'", 10001, 10001).replace("IpRanges", "Ipv6Ranges").replace("CidrIp:", "CidrIpv6:"),
            "error",
            "10001",
        ),
        (rule("0.0.0.0/0", 22, 22), "warning", "opens ports 22 to 22"),
        (rule("10.0.0.0/8", 8265, 8265), None, "to everybody: whoever"),
    ],
)
def test_an_open_security_group_is_refused(rules, level, said, written):
    path = written / "ray-up-aws.yaml"
    path.write_text(path.read_text().replace("  type: aws\n", f"  type: aws\n{rules}"))
    found = [finding for finding in check_files([path]) if said in finding.message]
    assert [finding.level for finding in found] == ([level] if level else [])
    assert all("IpPermissions" in finding.key for finding in found)


def test_without_definitions_nothing_passes(written, monkeypatch):
    monkeypatch.delenv("FEWGOOD_CRDS", raising=False)
    with pytest.raises(SpecError, match=r"ray\.io_rayclusters\.yaml.*https://github\.com/ray-project/kuberay.*--crds"):
        check_files([written / "raycluster.yaml"])
    (written / "crds").mkdir()
    with pytest.raises(SpecError, match=r"ray\.io_rayclusters\.yaml is missing: download it"):
        check_files([written / "raycluster.yaml"])
    (written / "crds" / "ray.io_rayclusters.yaml").write_text("a: b\n")
    with pytest.raises(SpecError, match="is no custom resource definition"):
        check_files([written / "raycluster.yaml"])


def test_definitions_are_found_beside_the_file_or_named(written, crds, monkeypatch):
    monkeypatch.setenv("FEWGOOD_CRDS", str(crds))
    assert not any(finding.level == "error" for finding in check_files([written / "raycluster.yaml"]))
    monkeypatch.delenv("FEWGOOD_CRDS")
    (written / "crds").symlink_to(crds)
    assert not any(finding.level == "error" for finding in check_files([written / "raycluster.yaml"]))


def test_a_service_beside_a_cluster_must_not_be_public(tmp_path):
    path = tmp_path / "service.yaml"
    path.write_text("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  type: LoadBalancer\n")
    errors = [str(finding) for finding in check_files([path]) if finding.level == "error"]
    assert errors == [
        f"{path}:5: error: spec.type: is LoadBalancer, which is reachable from outside: allowed is ClusterIP"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no document"),
        ("[1, 2]\n", "is a list: give a mapping"),
        ("a: b\n", "is neither a `ray up` file"),
        ("a: [\n", "is no YAML"),
    ],
)
def test_what_is_no_cluster_file_is_an_error(text, said, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    assert [said in finding.message and finding.level for finding in check_files([path])] == ["error"]


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    found = check_files([tmp_path / "missing.yaml"])
    assert [(finding.level, finding.line) for finding in found] == [("error", 1)]


def test_a_missing_served_module_is_a_warning_and_a_present_one_is_not(written, crds, monkeypatch):
    path = written / "rayservice.yaml"
    text = path.read_text()
    path.write_text(text.replace("fewgood_serve.app:build", "no_such_module.app:build"))
    warned = [finding for finding in check_files([path], definitions=crds) if finding.level == "warning"]
    assert [finding.key for finding in warned] == ["spec.serveConfigV2"]
    assert "this installation has no module no_such_module" in warned[0].message
    path.write_text(text)
    assert not [finding for finding in check_files([path], definitions=crds) if finding.level == "warning"]


def test_missing_requests_and_root_are_warnings(written, crds):
    path = written / "raycluster.yaml"
    text = re.sub(
        r"requests: .*\n", "requests: {}\n", path.read_text().replace("runAsNonRoot: true", "runAsNonRoot: false")
    )
    path.write_text(re.sub(r"limits: .*\n", "limits: {}\n", text))
    warned = [finding.message for finding in check_files([path], definitions=crds) if finding.level == "warning"]
    assert len([message for message in warned if "no requests" in message]) == 3
    assert len([message for message in warned if "may run as root" in message]) == 3


def test_the_command_line_says_it_and_fails(written, crds, monkeypatch, capfd):
    import json
    import sys

    from fewgood.cli.main import _run

    def call(*words: str | Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["fewgood", "cluster", *map(str, words)])
        capfd.readouterr()
        return _run(), capfd.readouterr().out

    files = sorted(written.glob("*.yaml"))
    status, out = call("check", *files, "--crds", crds, "--json")
    assert (status, json.loads(out)["status"], json.loads(out)["errors"]) == (0, "ok", 0)
    files[0].write_text(files[0].read_text().replace("--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0"))
    status, out = call("check", *files, "--crds", crds)
    assert (status, out.count(": error: ")) == (2, 1)
    status, out = call("init", written.parent / "more", "--image", "a:1", "--store", "s3://b/c", "--json")
    assert status == 0
    assert all(Path(name).is_file() for name in json.loads(out)["files"])
    assert call("init", written.parent / "more", "--image", "a:1", "--store", "s3://b/c")[0] == 2
