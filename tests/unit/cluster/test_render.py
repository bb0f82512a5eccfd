"""`fewgood cluster init`: what is written, for which settings, and what is refused."""

import importlib.metadata
import re
from types import SimpleNamespace

import pytest
import yaml

from fewgood.errors import SpecError
from fewgood_cluster.check import check_files
from fewgood_cluster.render import FILES, constraints, render, write
from fewgood_cluster.settings import settings_from

IMAGE, STORE = "registry.example.com/fewgood:0.1.0", "s3://bucket/fewgood"
NEEDED = {"image": IMAGE, "store": STORE}
AWS = {"subnet": "subnet-0123456789abcdef0", "security_group": "sg-0123456789abcdef0"}
CHOICES = [
    {},
    {"gpus": 3, "workers": 1, "cpus": 16, "memory": "64Gi", "namespace": "vision", "name": "night"},
    {"data_claim": "datasets", "credentials": "keys", "region": "eu-central-1", **AWS},
    {"head_host": "gpu1.lan", "worker_hosts": ["gpu2.lan"], "ssh_user": "ray", "host_folder": "/srv/fewgood"},
    {
        "image": "fewgood@sha256:" + "0" * 64,
        "store": "gs://bucket/x",
        "study": "name: mine\ndatasets: [{name: sample}]\n",
    },
]


@pytest.mark.parametrize("choice", CHOICES)
def test_what_is_written_passes_the_check(choice, crds, tmp_path):
    write(tmp_path, render(settings_from(NEEDED | choice)))
    findings = check_files(sorted(tmp_path.glob("*.yaml")), definitions=crds)
    assert [str(finding) for finding in findings if finding.level == "error"] == []
    warned = {(finding.path.name, finding.key) for finding in findings if finding.level == "warning"}
    aws = set() if choice.keys() >= AWS.keys() else {("ray-up-aws.yaml", "provider")}
    assert warned - aws <= {("rayservice.yaml", "spec.serveConfigV2")}
    assert aws <= warned
    assert sum("never started by us" in finding.message for finding in findings) == 5


def test_settings_reach_the_files():
    files = render(
        settings_from(NEEDED | {"gpus": 3, "workers": 5, "study": "name: mine\ndatasets: [{name: sample}]\n"})
    )
    cluster = yaml.safe_load(files["raycluster.yaml"])["spec"]
    assert [group["replicas"] for group in cluster["workerGroupSpecs"]] == [5, 3]
    gpu = cluster["workerGroupSpecs"][1]["template"]["spec"]["containers"][0]
    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert cluster["rayVersion"] == importlib.metadata.version("ray")
    study, job = yaml.safe_load_all(files["rayjob.yaml"])
    assert yaml.safe_load(study["data"]["study.yaml"]) == {"name": "mine", "datasets": [{"name": "sample"}]}
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    mounted = {mount["mountPath"]: mount["name"] for mount in head["containers"][0]["volumeMounts"]}
    assert mounted["/study.yaml"] == "study"
    assert {"name": "study", "configMap": {"name": study["metadata"]["name"]}} in head["volumes"]
    assert "/study.yaml" in job["spec"]["entrypoint"].split()
    aws = yaml.safe_load(files["ray-up-aws.yaml"])
    assert aws["max_workers"] == 8


@pytest.mark.parametrize("gpus", [0, 3])
def test_the_service_is_one_that_the_application_takes(gpus, tmp_path, monkeypatch):
    from fewgood_serve.settings import settings_from as serve_settings

    text = render(settings_from({**NEEDED, "gpus": gpus}))["rayservice.yaml"]
    served = yaml.safe_load(yaml.safe_load(text)["spec"]["serveConfigV2"])["applications"][0]
    assert served["import_path"] == "fewgood_serve.app:build"
    made = serve_settings(**served["args"], home=str(tmp_path), cluster=True)
    assert (made.gpus, made.min_replicas, made.no_auth) == (1.0 if gpus else 0.0, 1, False)
    assert made.replicas == (gpus or 8)


def test_the_example_study_is_a_study():
    from fewgood.execution.study import study_from

    text, _ = yaml.safe_load_all(render(settings_from(NEEDED))["rayjob.yaml"])
    study = study_from(yaml.safe_load(text["data"]["study.yaml"]), where="the example")
    assert len(study.cells) == 2


def test_the_dockerfile_copies_what_is_written_and_runs_without_root(written):
    text = (written / "Dockerfile").read_text()
    sources = re.findall(r"^COPY (\S+)", text, flags=re.MULTILINE)
    assert sources == ["constraints.txt", "wheels/"]
    assert all((written / source).exists() for source in sources)
    ignored = (written / ".dockerignore").read_text().splitlines()
    assert ignored == ["*", "!constraints.txt", "!wheels/*.whl"]
    assert "USER 1000:1000" in text.splitlines()
    assert text.splitlines().index("USER 1000:1000") > max(
        number for number, line in enumerate(text.splitlines()) if "pip install" in line
    )
    continued = [line for line in text.splitlines() if line.strip().startswith(("&&", "|", "--"))]
    lines = text.splitlines()
    assert all(lines[lines.index(line) - 1].endswith("\\") for line in continued)


def test_constraints_name_the_installed_versions_and_nothing_of_the_gpu():
    lines = constraints().splitlines()[1:]
    pinned = dict(line.split("==") for line in lines)
    assert len(pinned) == len(lines) > 50
    for name in ("ray", "anomalib", "torch", "jsonschema", "numpy"):
        assert pinned[name] == importlib.metadata.version(name).partition("+")[0]
    assert not [name for name in pinned if name.startswith(("nvidia", "cuda", "triton", "fewgood"))]


def test_files_are_not_overwritten_unless_forced(written, tmp_path):
    changed = written / "raycluster.yaml"
    changed.write_text("mine\n")
    files = render(settings_from(NEEDED))
    with pytest.raises(SpecError, match=r"raycluster\.yaml.*--force"):
        write(written, files)
    assert changed.read_text() == "mine\n"
    write(written, files, force=True)
    assert changed.read_text() == files["raycluster.yaml"]
    assert {path.name for path in written.iterdir()} == {*FILES, "constraints.txt", "wheels"}


def test_a_wheel_is_copied(tmp_path):
    wheel = tmp_path / "fewgood-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    write(tmp_path / "files", {"a": "b\n"}, wheel=wheel)
    assert (tmp_path / "files" / "wheels" / wheel.name).read_bytes() == b"wheel"
    with pytest.raises(SpecError, match="--wheel"):
        write(tmp_path / "others", {"a": "b\n"}, wheel=tmp_path / "missing.whl")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"image": "fewgood"}, "--image is 'fewgood': allowed is an image with a tag"),
        ({"image": "fewgood:latest"}, "tag other than latest"),
        ({"image": "localhost:5000/fewgood"}, "tag other than latest"),
        ({"image": "fewgood:1\nUSER root"}, "--image"),
        ({"store": "/mnt/share"}, "--store is '/mnt/share': allowed is a URL"),
        ({"store": "s3://bucket/x' -v /:/host"}, "--store"),
        ({"name": "Fewgood"}, "--name is 'Fewgood': allowed is a name"),
        ({"workers": 0}, "--workers is 0"),
        ({"memory": "lots"}, "--memory is 'lots'"),
        ({"head_host": "10.0.0.11"}, "name one twice"),
        ({"worker_hosts": ["a b"]}, "--worker-host"),
        ({"security_group": "mine"}, "--security-group is 'mine'"),
        ({"study": "[1, 2]"}, "the study is no mapping"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong, said):
    with pytest.raises(SpecError, match=re.escape(said)):
        settings_from(NEEDED | wrong)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match=r"file cannot be written"):
        write(tmp_path / "file", {"a": "b"})


def test_a_part_that_is_not_installed_is_left_out_of_the_constraints(monkeypatch):
    real = importlib.metadata.distribution

    def distribution(name):
        if name == "fewgood":
            return SimpleNamespace(version="1", requires=["numpy", "not-there-at-all", 'also-not; extra == "dev"'])
        return real(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    names = {line.partition("==")[0] for line in constraints().splitlines()[1:]}
    assert names == {"numpy", "torch", "torchvision"}
