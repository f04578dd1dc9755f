"""Seams change moto 5.2.5 in named places only, and put everything back."""

import moto
import pytest

from local.seams import MOTO_VERSION, SeamError, Seams


class Owner:
    def method(self) -> int:
        return 1

    @staticmethod
    def fixed() -> int:
        return 1


def test_what_is_replaced_is_put_back() -> None:
    seams = Seams()
    original = seams.replace(Owner, "method", lambda self: 2)
    seams.replace(Owner, "fixed", staticmethod(lambda: 2))
    seams.add(Owner, "extra", 5)
    assert (Owner().method(), Owner.fixed(), Owner.extra) == (2, 2, 5)  # type: ignore[attr-defined]
    assert original(Owner()) == 1
    seams.close()
    assert (Owner().method(), Owner.fixed(), Owner().fixed()) == (1, 1, 1)
    assert not hasattr(Owner, "extra")


def test_names_must_be_as_they_were_read() -> None:
    seams = Seams()
    with pytest.raises(SeamError, match="'absent'"):
        seams.replace(Owner, "absent", None)
    with pytest.raises(SeamError, match="not to define 'method'"):
        seams.add(Owner, "method", None)


def test_another_moto_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert moto.__version__ == MOTO_VERSION == "5.2.5"
    monkeypatch.setattr(moto, "__version__", "6.0.0")
    with pytest.raises(SeamError, match=r"6\.0\.0"):
        Seams()
