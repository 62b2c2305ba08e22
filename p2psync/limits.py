"""Every bound on what a stranger, a peer or a file can make large. The unit ends the name."""

KIB = 1024
MIB = 1024 * KIB

# -- codec
NESTING_DEPTH_MAX = 16

# -- log (docs/spec/entry.md)
ENTRY_BYTES_MAX = 256 * KIB
ENTRY_OPERATIONS_MAX = 4096
ENTRY_DEPS_MAX = 32
ENTRY_REFERENCES_MAX = 1 << 14
"""Operations that one entry may name in runs: few bytes can stand for many of them."""
ENTRY_PAYLOAD_TARGET_BYTES = 192 * KIB
"""A save is cut into entries of about this size, well below the hard limit."""
CLOCK_AHEAD_MS_MAX = 7 * 24 * 3600 * 1000
"""An entry's effective time is at most this far ahead of what it depends on."""
CLOCK_APART_MS_MAX = 3600 * 1000
"""An entry that comes from so far in the future tells that somebody's clock is wrong."""
UNSIGNED_BYTES_MAX = 2 * MIB
"""What one signature covers of a large save: well below what a peer lets wait for it."""
UNCOVERED_BYTES_MAX = 8 * MIB
"""Entries from one peer that wait in memory for the signature that covers them; of all peers that
are no members together."""
WAITING_ENTRIES_MAX = 10_000
"""Stored entries of one log that wait for what they depend on."""
WAITING_BYTES_MAX = 16 * MIB
"""The same of all logs of one device; in memory it is a few times as much."""
ENTRIES_IN_MEMORY_MAX = 50_000
"""Of a mandate, whose place in their log is remembered; the others are looked up."""
QUARANTINED_ENTRIES_MAX = 1_000
"""Entries of one device that wait for its admission."""

OPENING_ENTRIES_MAX = 4
"""Entries that a newcomer shows to be admitted."""
STRANGER_LOGS_MAX = 2_000
"""Logs of devices that are no members (yet: a log may arrive before its device's admission)."""
STRANGER_LOG_ENTRIES_MAX = 1_000
STRANGERS_BYTES_MAX = 32 * MIB
"""Entries of all devices that are no members together; honest ones have few. And of all that were
removed, what comes of them since this device started."""
LOGS_PER_DEVICE_MAX = 128
"""A device opens a log when its machine was restored or copied, or the one before was closed."""
BRANCHES_PER_LOG_MAX = 16
LOGS_DECLINED_MAX = 10_000
"""Logs that are remembered to be beyond a quota."""

# -- names and texts
MACHINE_NAME_BYTES_MAX = 64
NAME_BYTES_MAX = 200
TEXT_BYTES_MAX = 4 * KIB
AMOUNT_BYTES_MAX = 64
SUGGESTIONS_PER_MANDATE_MAX = 256
"""Files that are suggested for one mandate, and whose suggestion is remembered."""
POLICY_MINIMUMS_MAX = 64
EXPECTED_SECONDS_MAX = 366 * 24 * 3600
"""The longest time between two saves that a file can promise."""

# -- files
RECORD_FILE_BYTES_MAX = 64 * MIB
"""A larger file is synchronised whole, not record by record."""
FILE_HEAD_BYTES = 64 * KIB
"""How much of a file is read to tell its format."""
LINE_BYTES_MAX = 64 * KIB
STREAMED_LINE_BYTES_MAX = 8 * MIB
"""A longer line of a file that is read block by block comes in pieces; none is merged then."""
SEGMENT_RECORDS_MAX = 1_000
SEGMENT_BYTES_MAX = 128 * KIB
"""A group of lines that is larger is not merged as one; fits an entry with room to spare."""
RECORD_FILE_LINES_MAX = 250_000
"""A file of more lines is synchronised whole, not record by record."""
RECORD_TEXT_CHARS_MAX = 500
FILE_PROBLEMS_MAX = 1_000
INSPECTED_AT_ONCE_BYTES_MAX = 16 * MIB
"""A larger file is inspected block by block."""
SUMMED_CURRENCIES_MAX = 64
"""Currencies of one file that are summed up apart, or shown."""
INSPECTED_RECORDS_LISTED = 20
"""Records, changes and problems that are listed unless more or fewer are asked for."""
INSPECTED_CHANGES_MAX = 20_000
"""When more differs, nobody looks which records are edited ones."""
INSPECTED_SEGMENTS_MAX = 10_000_000
"""Two files with more lines and groups are not compared: each takes some 100 bytes of memory."""
INSPECTED_LINES_MAX = 5_000
"""Two texts of no known format with more lines are not compared line by line."""
LISTED_FILES_MAX = 1_000
FORMAT_NAME_BYTES_MAX = 1024
"""The name of a format, which may hold the definition of a delimited text."""
DEFINITION_BYTES_MAX = 64 * KIB
"""A definition of a delimited text as a user writes it, with comments."""
FORMAT_VARIANTS_KEPT_MAX = 1024
"""Formats that come in variants, kept ready to read."""
SETTINGS_ENTRIES_MAX = 100_000
POSITION_BASE_BYTES_MAX = 1024
XML_DEPTH_MAX = 64
"""Messages of ISO 20022 are about a dozen elements deep."""
SEGMENT_BYTES_MAX = 128 * KIB
"""A file with a longer line or group is synchronised whole."""
CHUNK_BYTES = 128 * KIB
CHUNK_ADDRESSES_INLINE_MAX = 64
"""A file of more chunks than this lists them in chunks of their own."""
FILE_CHUNKS_MAX = 1 << 20
LISTED_CHUNKS_MAX = 1 << 17
"""Chunks that one device's versions name in lists and that are looked for at a time; one file at
least. Each takes about 700 bytes of memory."""
INCOMING_MEMORY_BYTES_MAX = 32 * MIB
"""Contents of one piece that came and are not written out yet; more go to the disk."""
INCOMING_OPEN_MAX = 16
"""Partial files that are kept open."""
RECENT_BYTES_MAX = 16 * MIB
"""Sealed pieces of what was just saved, so that they are not read and sealed again."""
FILES_PER_MANDATE_MAX = 10_000
FOLDER_NAMES_MAX = 100_000
"""Names of one watched folder that are looked at."""
KEY_FILE_BYTES_MAX = 4 * KIB
PATH_BYTES_MAX = 4 * KIB - 1
NAME_ON_DISK_BYTES_MAX = 255

# -- tickets
TICKET_BYTES_MAX = 16 * KIB
TICKET_PEERS_MAX = 8
TICKET_ADDRESSES_PER_PEER_MAX = 8
ARGON2_MEMORY_BYTES_MAX = 256 * MIB
ARGON2_OPERATIONS_MAX = 10

# -- membership
MEMBERS_MAX = 1_000
CUT_HEADS_MAX = 1_024
"""Branches of logs that a removal names."""
EPOCHS_MAX = 1_024
"""Keys of epochs that are told at once, and kept before a member started their epoch."""
EPOCHS_OFFERED_MAX = 8
"""By the keys of the newest so many epochs a mandate is offered: a peer may be behind."""
INVITATION_USES_MAX = 1_000

# -- wire (docs/spec/wire.md)
FRAME_BYTES_MAX = 1 * MIB
FRAME_TARGET_BYTES = 512 * KIB
"""Entries are cut into frames of about this size."""
OFFER_TAGS_MAX = 1024
"""Mandates offered in one frame."""
OFFERS_PER_LINK_MAX = 8192
"""Mandates offered over one link by one side."""
OPENING_KEPT_BYTES_MAX = 16 * KIB
"""A newcomer's opening that is kept until the one who invited has told of it."""
FRONTIER_TIPS_MAX = 10_000
"""Tips of one mandate that a peer may announce."""
LOCATOR_POINTS_MAX = 128
WANTS_PER_FRAME_MAX = 256
LOGS_ASKED_MAX = 1024
"""Logs that one peer is asked for at a time."""
ENTRIES_AGAIN_MAX = 100_000
"""What one peer gets in a minute, besides all entries of a mandate twice."""
ENTRIES_PER_FRAME_MAX = 4096
CHUNKS_WANTED_MAX = 64
"""Chunks asked for over one link and not yet come: at most 8 MiB."""
CHUNKS_UNREQUESTED_MAX = 4
"""Chunks of one link that came ahead of the entry that names them."""
DIALS_MAX = 32
"""Devices dialled at one time."""
DEVICES_SIGHTED_MAX = 1024
"""Devices whose addresses are remembered although no mandate asks for them."""
HANDSHAKE_SECONDS_MAX = 10
IDLE_LINK_SECONDS_MAX = 5
"""A link without a mandate in common is ended after this."""
WANT_SECONDS_MAX = 10
"""A peer that sends nothing of what was asked for so long: another is asked."""
CHUNK_SECONDS_MAX = 30
ADDRESS_BYTES_MAX = 256
ADDRESSES_PER_PEER_MAX = 16
ADDRESS_RECORDS_MAX = 10_000
"""Signed addresses of devices that are kept."""
ADDRESS_RECORD_BYTES_MAX = 6 * KIB
ADDRESS_RECORDS_PER_FRAME_MAX = 64
ADDRESS_RECORDS_PER_MINUTE_MAX = 20_000
"""News of addresses that one peer may tell in a minute."""
SEQUENCES_PER_FRAME_MAX = 1024
"""Devices of which one frame tells how new the addresses are that the sender has."""

# -- local API
API_BODY_BYTES_MAX = 1 * MIB

# -- links and connections (docs/spec/link.md)
LINK_WINDOW_START_BYTES = 256 * KIB
"""What a peer may send unread on a fresh stream; yamux fixes this figure."""
LINK_WINDOW_NEAR_BYTES_MAX = 4 * MIB
"""What the window grows to for a known device that is read quickly."""
LINK_WINDOW_BYTES_MAX = 16 * MIB
"""What it grows to when so much is on its way at a time, because the peer is far."""
LINK_OUTBOX_BYTES_MAX = 512 * KIB
"""Frames that wait on one stream for the wire; more would only delay what is saved meanwhile."""
STREAMS_INBOUND_MAX = 8
"""Streams that a peer may have open on one connection, negotiated or not."""
STREAMS_REFUSED_MAX = 64
"""Streams refused on one connection before the connection itself is cut."""
SMALL_FRAME_BYTES = 1 * KIB
SMALL_FRAMES_PER_SECOND_MAX = 10_000
"""Taken from a member: muxer frames of fewer bytes than this, and Noise messages of fewer."""
SMALL_FRAMES_STRANGER_PER_SECOND_MAX = 1_000
CONTROL_BYTES_MAX = 64 * KIB
"""Answers (acknowledgements, pings, resets) that wait for a peer that does not read."""
CONNECTIONS_UPGRADING_MAX = 64
CONNECTIONS_UPGRADING_PER_ADDRESS_MAX = 16
CONNECTIONS_INBOUND_MAX = 256
CONNECTIONS_STRANGERS_MAX = 64
"""Inbound connections of devices that no mandate knows; the rest is kept for members."""
CONNECTIONS_PER_DEVICE_MAX = 4
NEGOTIATION_LINE_BYTES_MAX = 1 * KIB
NEGOTIATION_PROPOSALS_MAX = 16

# -- LAN discovery (docs/spec/discovery.md)
ANNOUNCED_TAGS_MAX = 64
ANNOUNCEMENT_BYTES_MAX = 1 * KIB
ANNOUNCEMENTS_REMEMBERED_MAX = 1_024
ANNOUNCEMENTS_WAITING_MAX = 256
ANNOUNCEMENTS_MATCHED_PER_SECOND_MAX = 20
ANNOUNCED_ADDRESSES_MAX = 8
API_BODY_SECONDS_MAX = 30
API_DRAIN_BYTES_MAX = 4 * MIB
"""Read and thrown away of a body that is too large, so that the caller sees the answer."""
API_HEADERS_SECONDS_MAX = 5
API_SEND_SECONDS_MAX = 20
"""A reader that takes nothing for so long is dropped."""
API_CONNECTIONS_MAX = 64
API_HEARTBEAT_SECONDS = 15
API_STOP_SECONDS_MAX = 2
EVENTS_QUEUED_MAX = 64
"""Events taken from the node that wait for one slow reader."""

# -- the node's queues
COMMIT_EFFECTS_MAX = 10_000
"""Effects that one transaction takes together at most."""
LINK_FRAMES_UNSETTLED_MAX = 8
"""Frames of one link that were read and wait for the disk."""
LINK_SENDS_WAITING_BYTES_MAX = 32 * MIB
"""What they take up in memory at most, besides one; an entry that is asked for counts 8 bytes."""
LINK_SENDS_WAITING_MAX = 10_000
"""Sends of one link that wait for the peer to read."""
FILES_AT_ONCE_MAX = 8
"""Files of one mandate that are read or written at the same time."""
DISK_RESERVE_BYTES_MAX = 512 * MIB
"""What others send never takes the last of a disk, but leaves this much or a twentieth of it."""
DISK_FREE_AGAIN_BYTES = 16 * MIB
"""After a disk was full, so much must be free, or a hundredth of it, before it counts as mended."""
DISK_PROBE_BYTES = 64 * KIB
WRITE_TRIES_MAX = 5
"""How often a file that changes under us is taken up and written again in one go."""
EVENTS_AT_ONCE_MAX = 1_000
RECEIPT_SEGMENTS_MAX = 10_000
"""Lines or groups that one receipt names; it has to fit into an entry."""
VERSIONS_LISTED = 200
VERSIONS_LISTED_MAX = 10_000
RETENTION_DAYS_MAX = 36_600
VERSIONS_DROPPED_AT_ONCE_MAX = 10_000
WEIGHED_BYTES_MAX = 256 * MIB
"""What one answer reads of old versions to count their records."""
RECORD_TALES_LISTED = 100
"""Lines and groups whose history is listed unless more are asked for."""
RECORD_TALES_LISTED_MAX = 10_000
PENDING_LISTED = 200
"""Records that wait, listed unless more or fewer are asked for; their numbers are always told."""
PENDING_LISTED_MAX = 10_000
PENDING_EDITED_RECORDS_MAX = 20_000
"""In a file with more records that wait nobody looks which of them are edited ones."""
PROGRESS_WAITING_MAX = 64
"""Passing events that wait for one listener; more are dropped."""

# -- database (docs/spec/storage.md)
WAL_BYTES_MAX = 16 * MIB
"""The write-ahead log is carried over into the database, and cut, at about this size."""
DATABASE_BUSY_SECONDS_MAX = 5
DATABASE_CHECK_SECONDS_MAX = 2
"""How long a database that was not closed properly is looked through at the start."""
EVENTS_KEPT_MAX = 100_000
"""Messages and closed alerts beyond this many are forgotten, oldest first."""
ALERTS_OPEN_MAX = 10_000
"""Further alerts are kept in the history only."""
CONTACT_DEVICES_MAX = 10_000
HIGH_WATER_MARKS_MAX = 65_536

# -- hooks and desktop notifications (docs/events.md)
HOOKS_MAX = 50
HOOK_EVENTS_MAX = 64
"""Words that one hook's choice of events has."""
HOOK_ARGUMENTS_MAX = 64
HOOK_COMMANDS_AT_ONCE_MAX = 2
HOOK_COMMAND_SECONDS_MAX = 60
HOOK_OUTPUT_BYTES_MAX = 1 * MIB
"""A command that prints more is ended: reading on would cost the node."""
HOOK_OUTPUT_KEPT_BYTES = 500
WEBHOOK_SECONDS_MAX = 20
WEBHOOK_ANSWER_BYTES_MAX = 64 * KIB
WEBHOOKS_AT_ONCE_MAX = 4
WEBHOOK_EVENT_SECONDS_MAX = 3 * 24 * 3600
"""An event that could not be delivered for so long is given up."""
WEBHOOK_REFUSED_TRIES_MAX = 3
"""So often the same event is sent to a receiver that calls it wrong."""
MESSAGES_LISTED_MAX = 1_000
POPUPS_WAITING_MAX = 100

# -- removed and closed mandates (B-REM-5)
UNDO_SECONDS = 30 * 24 * 3600
BLOCKING_RECORDS_LISTED_MAX = 20
"""Records that a refusal to detach a file, or to remove a mandate, lists."""
BLOCKING_FILES_LISTED_MAX = 20

# -- files that are not where they were (B-MIG-1)
SEARCHED_FOLDERS_MAX = 200
SEARCHED_NAMES_MAX = 20_000
"""Names that are looked at in one search, in all folders together."""
SEARCHED_BYTES_MAX = 256 * MIB
"""What one search reads; what is larger is told by its name and its inode alone."""
CANDIDATES_LISTED_MAX = 10
"""Places where a file that is missing may be now, named in one alert or refusal."""

# -- audit files (docs/spec/audit.md)
AUDIT_ENTRIES_MAX = 4_000_000
"""Entries of one file; checking them takes about 250 bytes of memory each."""
AUDIT_LOGS_MAX = 1 << 16
AUDIT_HEADS_MAX = 1 << 16
AUDIT_KEYS_MAX = 4096
AUDIT_CONTENTS_MAX = 10_000
AUDIT_PIECE_BYTES_MAX = 128 * KIB
AUDIT_MANIFEST_BYTES_MAX = 8 * MIB
AUDIT_STAMP_BYTES_MAX = 64 * KIB
AUDIT_STAMPS_MAX = 16
AUDIT_SOFTWARE_BYTES_MAX = 64
AUDIT_PROBLEMS_MAX = 50
"""Problems that are listed; further ones are counted."""
AUDIT_REPORT_SEGMENTS_MAX = 1_000_000
"""Lines that a report folds to count records and sum amounts; about a kilobyte of memory each."""
AUDIT_REPORT_ROWS_MAX = 2_000
"""Versions, and receipts, that a report lists; the newest."""
TIME_STAMP_SECONDS_MAX = 30
CERTIFICATE_FILE_BYTES_MAX = 1 * MIB
CERTIFICATES_MAX = 1_000
HEADS_FILE_BYTES_MAX = 32 * MIB

# -- bundles (docs/spec/bundle.md)
BUNDLE_SLOTS_MAX = 256
"""Epochs whose key opens a bundle; the newest."""
BUNDLE_MANIFEST_BYTES_MAX = 1 * MIB
BUNDLE_LACKING_MAX = 10_000
BUNDLE_SOFTWARE_BYTES_MAX = 64
BUNDLE_CHUNKS_MAX = 4_000_000
"""Chunks of one bundle (512 GB); finding them takes about 150 bytes of memory each."""

# -- WebSocket and proxies (docs/spec/websocket.md)
HTTP_HEAD_BYTES_MAX = 8 * KIB
"""Of a request or an answer, up to the empty line."""
HTTP_INTERIM_ANSWERS_MAX = 8
"""Answers of the kind "go on" (1xx) that a proxy may give ahead of its own."""
WEBSOCKET_FRAME_BYTES_MAX = 16 * MIB
"""That a frame may announce; its bytes are passed on as they come."""
WEBSOCKET_FRAMES_BURST_MAX = 4096
"""Frames of a peer beyond one for every four bytes that it sends."""
WEBSOCKET_FRAMES_A_TURN = 1024
TLS_FILE_BYTES_MAX = 1 * MIB
PROXY_TEXT_BYTES_MAX = 1024
"""Of a proxy's URL, and of a password."""

CIRCUIT_MESSAGE_BYTES_MAX = 4 * KIB
"""Of one message of circuit relay v2 (the specification's own bound)."""
RELAY_ANSWER_SECONDS_MAX = 15
RELAY_TOKEN_BYTES_MAX = 64
RELAY_GROUPS_PER_DEVICE_MAX = 200
"""Mandates that a device names at one relay, each by what it is called there."""
RELAYS_MAX = 8
"""Relays that one node uses."""
RELAYS_USED_MAX = 64
"""The same with those that its mandates name."""
MANDATE_RELAYS_MAX = 8
"""Relays that a mandate names for its members."""
RELAY_ADDRESSES_MAX = 8
RELAY_LOOK_SECONDS = 5
RELAY_TOKENS_MAX = 1_000
RELAY_CONFIG_BYTES_MAX = 1 * MIB
RELAY_DEVICES_MAX = 1_000
"""Devices that have a reservation at one relay."""
RELAY_DEVICES_PER_ADDRESS_MAX = 256
"""An office has one address for all its machines."""
RELAY_CIRCUITS_PER_DEVICE_MAX = 64
RELAY_CIRCUITS_PER_PAIR_MAX = 8
"""From one device to another; who calls again while calls wait for an answer has that many."""
RELAY_CIRCUITS_PER_ADDRESS_MAX = 1_024
"""Opened from one address, whatever devices are there."""
RENDEZVOUS_TAGS_ASKED_MAX = 64
"""In one question to a relay."""
RENDEZVOUS_RECORDS_TOLD_MAX = 512
"""In one answer of a relay, of 1 KiB each."""
RENDEZVOUS_RECORDS_MAX = 32_768
"""That one relay keeps, of 1 KiB each."""
RENDEZVOUS_RECORDS_PER_DEVICE_MAX = 256
RENDEZVOUS_RECORDS_PER_ADDRESS_MAX = 4_096
RENDEZVOUS_RECORDS_PER_TAG_MAX = 256
RENDEZVOUS_QUESTIONS_PER_SECOND_MAX = 4
"""Of one device, in the long run."""
RENDEZVOUS_QUESTIONS_BURST_MAX = 256
RENDEZVOUS_KEPT_SECONDS = 7_200
"""So long a relay keeps a record that its device does not renew."""
RELAY_ACCOUNTS_MAX = 20_000
"""Tokens, groups and addresses whose use one relay counts."""
RELAY_RETURN_SECONDS_MAX = 600
"""So long a relay that was restarted keeps the places that devices had before."""
RELAY_STATE_BYTES_MAX = 64 * MIB
RELAY_RESERVATION_SECONDS = 3_600
RELAY_RESERVATION_SECONDS_MIN = 120
RELAY_RESERVATION_SECONDS_MAX = 86_400
RELAY_CIRCUITS_MAX = 4_096
"""Circuits that one relay passes on at once."""
CIRCUITS_INBOUND_MAX = 64
"""Circuits and questions that one relay may have open to this device at once."""

# -- being reached from outside (docs/spec/reaching.md)
PUNCH_ADDRESSES_MAX = 8
"""Addresses that one side tells for hole punching, and that the other calls."""
PUNCH_ANSWER_SECONDS_MAX = 10
PUNCHES_MAX = 8
"""Devices that are called so at once."""
OBSERVERS_MAX = 32
"""Devices whose word on our address is kept, each one's latest."""
OBSERVERS_MIN = 2
"""So many devices must say the same, unless it is a relay of ours."""
OBSERVED_SECONDS = 2 * 3600
IDENTIFY_BYTES_MAX = 16 * KIB
AUTONAT_ADDRESSES_MAX = 4
"""Addresses of one question that are called."""
AUTONAT_SECONDS_MAX = 8
"""How long all calls back of one question may take together."""
AUTONAT_AT_ONCE_MAX = 32
AUTONAT_A_MINUTE_MAX = 600
AUTONAT_PER_DEVICE_A_MINUTE_MAX = 6
AUTONAT_PER_ADDRESS_A_MINUTE_MAX = 60
"""An office has one address for all its machines."""
UPNP_LEASE_SECONDS = 3_600
UPNP_SECONDS_MAX = 20
"""How long a router may take to answer; what is under way is then left alone."""
UPNP_PORTS_TRIED_MAX = 4
