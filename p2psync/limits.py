"""Every bound on what a stranger, a peer or a file can make large. The unit ends the name."""

KIB = 1024
MIB = 1024 * KIB

# -- codec
NESTING_DEPTH_MAX = 16

# -- log (docs/spec/entry.md)
ENTRY_BYTES_MAX = 256 * KIB
ENTRY_OPERATIONS_MAX = 4096
ENTRY_DEPS_MAX = 32
ENTRY_PAYLOAD_TARGET_BYTES = 192 * KIB
"""A save is cut into entries of about this size, well below the hard limit."""
CLOCK_AHEAD_MS_MAX = 7 * 24 * 3600 * 1000
"""An entry's effective time is at most this far ahead of what it depends on."""
UNCOVERED_BYTES_MAX = 8 * MIB
"""Entries of one log that wait in memory for the signature that covers them."""
WAITING_ENTRIES_MAX = 10_000
"""Stored entries of one log that wait for what they depend on."""
QUARANTINED_ENTRIES_MAX = 1_000
"""Entries of one device that wait for its admission."""

# -- names and texts
NAME_BYTES_MAX = 200
TEXT_BYTES_MAX = 4 * KIB

# -- files
RECORD_FILE_BYTES_MAX = 64 * MIB
"""A larger file is synchronised whole, not record by record."""
LINE_BYTES_MAX = 64 * KIB
SEGMENT_RECORDS_MAX = 1_000
CHUNK_BYTES = 256 * KIB
CHUNK_ADDRESSES_INLINE_MAX = 64
"""A file of more chunks than this lists them in chunks of their own."""
FILE_CHUNKS_MAX = 1 << 20
FILES_PER_MANDATE_MAX = 10_000

# -- tickets
TICKET_BYTES_MAX = 16 * KIB
TICKET_PEERS_MAX = 8
TICKET_ADDRESSES_PER_PEER_MAX = 8
ARGON2_MEMORY_BYTES_MAX = 256 * MIB
ARGON2_OPERATIONS_MAX = 10

# -- membership
MEMBERS_MAX = 1_000
INVITATION_USES_MAX = 1_000

# -- wire
FRAME_BYTES_MAX = 1 * MIB
ADDRESS_BYTES_MAX = 256
ADDRESSES_PER_PEER_MAX = 16

# -- local API
API_BODY_BYTES_MAX = 1 * MIB
