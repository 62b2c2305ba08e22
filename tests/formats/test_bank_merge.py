"""Bank files on several devices, whatever is saved: exact saves, one result, in any order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.formats import registry
from tests.formats.files import EXAMPLES
from tests.formats.merging import Device

FILES = {
    "camt": (EXAMPLES / "rivage_2025-03_camt053.xml").read_bytes(),
    "ofx": (EXAMPLES / "rivage_2025-03.ofx").read_bytes(),
    "pain": (EXAMPLES / "rivage_2025-03_pain001.xml").read_bytes(),
}


@st.composite
def _edits(draw: st.DrawFn, name: str) -> bytes:
    """The example with segments left out, repeated, moved, and bytes overwritten."""
    form = registry.by_name(name)
    raws = [segment.raw for segment in form.parse(FILES[name]).segments]
    raws = [raws[place] for place in draw(st.lists(st.integers(0, len(raws) - 1), max_size=7))]
    data = b"".join(raws)
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(data)))
        piece = draw(st.sampled_from([b"", b"<", b">", b"9", b"</Ntry>", b"<STMTTRN>", b"<!--"]))
        data = data[:start] + piece + data[start + draw(st.integers(0, 30)) :]
    return data


@pytest.mark.parametrize("name", sorted(FILES))
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_devices_that_save_anything_come_to_the_same(name: str, data: st.DataObject) -> None:
    form = registry.by_name(name)
    devices = [Device(form, bytes([65 + place]) * 32) for place in range(3)]
    for place, other in data.draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=8)
    ):
        if place == other:
            devices[place].save(data.draw(_edits(name)))
        else:
            devices[place].learn(devices[other])
    for device in devices:
        for other_device in devices:
            device.learn(other_device)
    shown = {device.state.emit() for device in devices}
    assert len(shown) == 1
    backwards = Device(form, b"z" * 32)
    for change in reversed(devices[0].known):
        backwards.take(change)
    assert backwards.state.emit() == devices[0].state.emit()
    assert backwards.state.records == devices[0].state.records
    devices[0].save(FILES[name])  # whatever stood there, the next save is exact
