"""Seeds that once failed, and what they showed. They stay.

A change of the world changes what a seed tells, so whatever a seed shows gets a test of its own.
"""

FAILED: dict[int, str] = {
    21: "power failed between a log's key and its first entry, and the log never opened",
    167: "who was dialled offered a mandate after the dialler had offered none, and was cut off",
    221: "the same",
    1533: "a simulated machine folded anew in the middle of its work, and a frame overtook another",
    2921: "a save that was announced while another was asked for was never asked for",
    3620: "one batch made a device a member, counted a save of it, and took its admission back",
    3528: "power failed before a fold was made anew, which the simulated machine then never did",
    847: "a removed device that alone had some content was not asked for it over a later link",
    1252: "the same",
    560: "a member had written in the epoch of who was removed; others never got the key",
    800: "a device that was readmitted had said, while it was removed, that it has all content",
    1350: "who was let in by a device that was removed had no other member's address",
}
