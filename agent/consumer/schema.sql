-- What the ingester keeps, for PostgreSQL 15 and newer. Made and brought up to date by the ingester itself when it starts;
-- an administrator who gives it no right to make tables runs this file once by hand, as the owner.
--
-- The file only grows: a database at version n gets what stands below the lines "-- version n+1" and later, in one
-- transaction. A version that has been released is never edited.
--
-- Not partitioned. By time it cannot be: a repeat that comes in another month must meet the row that it repeats, so the
-- primary key holds no time. By box it can, when one table is too much for one disk: `partition by hash (site, box)`,
-- both of the key. Old rows may be deleted as you please: what is missing is told by `ledger`, which does not look at them.

-- version 1
create schema if not exists gateway;

create table gateway.version (
  version   integer primary key,
  since     timestamptz not null default now()
);

-- Every message on the ledger, once.
create table gateway.message (
  site        text not null,
  box         text not null,
  stream      text not null,         -- alert, count, reading
  epoch       bigint not null,       -- uint32: which numbering
  seq         bigint not null,       -- from 1
  source      text not null,         -- camera, sensor, or "box"
  kind        text not null,
  happened    timestamptz not null,  -- by the box's clock; where that was not set: received minus late
  clock_unset boolean not null,      -- so happened is what we make of it
  time_ms     bigint not null,       -- what the box's clock said, UTC Unix ms, right or wrong
  up_ms       bigint not null,       -- since the box booted; distances within one boot
  boot        bigint,                -- which, where it is not the one that `box.state` names
  late_s      bigint,                -- from happening to sending, where that was long
  received    timestamptz not null,  -- by the clock of the ingester
  body        jsonb not null,        -- the message without its ledger fields
  primary key (site, box, stream, epoch, seq)
);
-- Rows come roughly in the order of time: a few kilobytes of index for years.
create index message_happened on gateway.message using brin (happened);
create index message_received on gateway.message using brin (received);
-- For incidents.
create index message_alert on gateway.message (site, box, (body ->> 'alert')) where stream = 'alert';
create index message_handled on gateway.message (site, box, (body -> 'event' ->> 'epoch'), (body -> 'event' ->> 'seq'))
  where kind = 'handled';

-- What has come, per numbering: ranges, so that a series of any length is one short row. Written in the transaction that
-- stores the messages; it is what tells new from missing, and never looks back at them.
create table gateway.ledger (
  site      text not null,
  box       text not null,
  stream    text not null,
  epoch     bigint not null,
  start     bigint not null,                 -- the first number that is expected: 1, or where we joined
  seen      int8multirange not null,
  excused   int8multirange not null,         -- stretches that the box said will not come
  repeats   bigint not null,                 -- arrivals of what was here already
  newest    timestamptz not null,            -- when the last one was received
  missing   int8multirange not null
    generated always as (int8multirange(int8range(start, greatest(start, upper(seen)))) - seen - excused) stored,
  primary key (site, box, stream, epoch)
) with (fillfactor = 50);                    -- updated with every batch, in place
create index ledger_missing on gateway.ledger (site, box, stream, epoch) where missing <> '{}';

-- Every gap notice: which stretch the box dropped, and why.
create table gateway.gap (
  site        text not null,
  box         text not null,
  stream      text not null,
  epoch       bigint not null,
  first       bigint not null,
  last        bigint not null,
  reason      text not null,
  said_epoch  bigint not null,      -- the alert that said so
  said_seq    bigint not null,
  primary key (site, box, said_epoch, said_seq)
);

-- What each box says of itself, the latest.
create table gateway.box (
  site        text not null,
  box         text not null,
  state       jsonb,
  state_at    timestamptz,          -- received
  health      jsonb,
  health_at   timestamptz,
  epoch       bigint,               -- of the numbers in `last`
  last        jsonb not null default '{}',  -- last number given out, per stream
  primary key (site, box)
) with (fillfactor = 50);

-- What could not be stored, and why. The same bytes again are counted, not kept again.
create table gateway.set_aside (
  digest      bytea primary key,    -- sha256 of topic, a zero byte and payload
  topic       text not null,
  payload     bytea not null,       -- at most 64 KiB of it
  reason      text not null,
  times       bigint not null,
  first_at    timestamptz not null,
  last_at     timestamptz not null
);

-- Pictures of alerts, with --evidence.
create table gateway.picture (
  site        text not null,
  box         text not null,
  id          text not null,        -- as the alert's `evidence` names it
  sha256      text not null,        -- of the bytes; compare with the alert's
  jpeg        bytea not null,
  received    timestamptz not null,
  primary key (site, box, id)
);

-- One row per stretch that has not come and was not excused.
create view gateway.missing as
select site, box, stream, epoch, lower(stretch) as first, upper(stretch) - 1 as last
from gateway.ledger, unnest(missing) as stretch
where missing <> '{}';

-- What each box has numbered, beyond the highest number that is here: on its way, as a rule.
create view gateway.behind as
select b.site, b.box, n.key as stream, b.epoch, coalesce(upper(l.seen), 1) as first, n.value::bigint as last
from gateway.box b
cross join jsonb_each_text(b.last) n
left join gateway.ledger l on (l.site, l.box, l.stream, l.epoch) = (b.site, b.box, n.key, b.epoch)
where b.epoch is not null and n.value::bigint >= coalesce(upper(l.seen), 1);

-- From the alert to its end, and who did what when. One row per alert that a person should take: what was raised, and
-- what a rule said once. The messages themselves remain the record; this only puts them side by side.
create view gateway.incident as
select
  m.site, m.box, m.source, m.epoch, m.seq, m.kind,
  m.body ->> 'rule' as rule,
  m.body ->> 'severity' as severity,
  m.body ->> 'alert' as alert,
  m.happened as raised,
  acknowledged.happened as acknowledged, acknowledged.by as acknowledged_by, acknowledged.note as acknowledged_note,
  cleared.happened as cleared, cleared.lasted_s,
  resolved.happened as resolved, resolved.by as resolved_by, resolved.note as resolved_note,
  case
    when resolved.happened is not null then 'resolved'
    when cleared.happened is not null then 'cleared'
    when acknowledged.happened is not null then 'acknowledged'
    else 'raised'
  end as status,
  m.body
from gateway.message m
left join lateral (
  select c.happened, (c.body ->> 'lasted_s')::numeric as lasted_s
  from gateway.message c
  where c.stream = 'alert' and (c.site, c.box) = (m.site, m.box)
    and c.body ->> 'alert' = m.body ->> 'alert' and c.body ->> 'state' = 'cleared' and c.kind = m.kind
  order by c.epoch = m.epoch desc, c.seq
  limit 1
) cleared on true
left join lateral (
  select h.happened, h.body ->> 'by' as by, h.body ->> 'note' as note
  from gateway.message h
  where h.stream = 'alert' and h.kind = 'handled' and h.body ->> 'state' = 'acknowledged'
    and (h.site, h.box) = (m.site, m.box) and h.body ->> 'alert' = m.body ->> 'alert'
  union all
  select h.happened, h.body ->> 'by', h.body ->> 'note'
  from gateway.message h
  where h.kind = 'handled' and h.body ->> 'state' = 'acknowledged' and (h.site, h.box) = (m.site, m.box)
    and h.body -> 'event' ->> 'epoch' = m.epoch::text and h.body -> 'event' ->> 'seq' = m.seq::text
  order by 1
  limit 1
) acknowledged on true
left join lateral (
  select h.happened, h.body ->> 'by' as by, h.body ->> 'note' as note
  from gateway.message h
  where h.stream = 'alert' and h.kind = 'handled' and h.body ->> 'state' = 'resolved'
    and (h.site, h.box) = (m.site, m.box) and h.body ->> 'alert' = m.body ->> 'alert'
  union all
  select h.happened, h.body ->> 'by', h.body ->> 'note'
  from gateway.message h
  where h.kind = 'handled' and h.body ->> 'state' = 'resolved' and (h.site, h.box) = (m.site, m.box)
    and h.body -> 'event' ->> 'epoch' = m.epoch::text and h.body -> 'event' ->> 'seq' = m.seq::text
  order by 1 desc
  limit 1
) resolved on true
where m.stream = 'alert' and m.kind <> 'handled'
  and (m.body ->> 'state' = 'raised' or (m.body ->> 'state' is null and m.body ->> 'rule' is not null));
