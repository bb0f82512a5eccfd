"""Names and versions: what leaves the registry is refused before it is looked for."""

import pytest

from fewgood.errors import SpecError
from fewgood_serve.names import parse_reference, slug


@pytest.mark.parametrize(
    ("text", "meant"),
    [("brick", ("brick", None)), ("brick@latest", ("brick", None)), ("a-b_c9@12", ("a-b_c9", 12)), ("x@1", ("x", 1))],
)
def test_references(text, meant):
    assert parse_reference(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        "../x",
        "a/b",
        "a@",
        "a@0",
        "a@-1",
        "a@1.5",
        "a@latest2",
        "A",
        "a b",
        "a\n",
        "a@1\n",
        "-a",
        "a" * 65,
        "a@" + "9" * 20,
        "é",
        "a%2f",
        ".a",
    ],
)
def test_what_is_no_reference_is_refused(text):
    with pytest.raises(SpecError):
        parse_reference(text)


def test_slugs_are_names():
    assert slug("mvtec_ad", "metal nut", "patchcore", "1-shot") == "mvtec_ad-metal-nut-patchcore-1-shot"
    assert slug("../..", "//") == "generator"
    assert len(slug("a" * 200)) == 64
