-- The outbox as its first version made it; files of it are on boxes, so this never changes.
create table ledger (                     -- one row: how this box numbers its messages
  one       integer primary key check (one = 1),
  era       integer not null check (era >= 1),   -- counts the epochs of this box; orders rows across them
  epoch     integer not null check (epoch between 0 and 4294967295),  -- random; what consumers tell epochs apart by
  boot      integer not null check (boot >= 1),  -- counts the boots this box has seen
  boot_id   text not null                        -- the kernel's id of boot number `boot`
) strict;

create table stream (                     -- counters outlive the rows they count
  stream    integer primary key,          -- 0 alert, 1 count, 2 reading
  last_seq  integer not null,             -- last number given out in the current epoch; never goes back
  rows      integer not null,
  bytes     integer not null,             -- see row_bytes()
  acked_ms  integer                       -- wall clock when a row was last removed, as the box believed
) strict;

create table event (                      -- one row per message the broker has not acknowledged
  stream    integer not null check (stream in (0, 1, 2)),
  era       integer not null,
  seq       integer not null check (seq >= 1),
  epoch     integer not null,             -- again, so that a row torn from a damaged file still knows its number
  source    text not null,                -- camera's or sensor's id, or "box": the topic's last level
  body      text not null,                -- JSON, all of the message but its ledger fields
  wall_ms   integer not null,             -- UTC Unix ms as believed when it happened
  mono_ms   integer not null,             -- ms since boot number `boot`
  boot      integer not null,
  clock_ok  integer not null check (clock_ok in (0, 1)),  -- 0: the wall clock had not been set
  primary key (stream, era, seq)          -- the order in which they leave; oldest first is also how they are evicted
) strict, without rowid;

create table gap (                        -- what was dropped and not yet announced; stretches grow while they can
  stream    integer not null,
  epoch     integer not null,
  reason    text not null,
  first     integer not null,
  last      integer not null,
  primary key (stream, epoch, reason, first)
) strict, without rowid;

create table aside (                      -- messages the broker will never take, kept for a person to look at
  id        integer primary key,
  reason    text not null,
  epoch     integer not null,
  stream    integer not null,
  seq       integer not null,
  source    text not null,
  body      text not null,
  wall_ms   integer not null
) strict;
