"""The guides by which a clerk, an accountant and a fiduciary find their way, walked through."""

from pathlib import Path

import pytest

from tests.docs_stories.rig import ROOT, on_this_machine, stage
from tests.docs_stories.walk import read_page

GUIDES = {
    "source": ["accountant", "clerk"],
    "accountant": ["accountant", "clerk", "colleague"],
    "fiduciary": ["fiduciary", "client"],
    "programs": ["office"],
}


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_can_be_walked_through(name: str, tmp_path: Path, programs: Path) -> None:
    page = read_page(ROOT / "docs" / "guides" / f"{name}.md")
    assert page.others == (), "blocks that nobody walks through"
    with stage(tmp_path / "try", programs, GUIDES[name]) as walk:
        walk.run(on_this_machine(page.steps))
