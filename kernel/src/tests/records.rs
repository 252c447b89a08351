//! The audit log, the kernel's log, inspection, power, entropy.

use super::invariants::check;
use super::world::{ACCOUNT, AUDIT, ENTROPY, LOG, POWER, World, pair, sandbox_spec};
use crate::config::AUDIT_RECORDS;
use crate::machine::PowerAction;
use hic_abi::audit::{Event, HASHED_BYTES, Record};
use hic_abi::inspect::{CapInfo, MemoryInfo, SandboxInfo, SystemInfo, What};
use hic_abi::object::SandboxSpec;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, ObjectType, Plain, Rights, SELF, name_bytes};
use sha2::{Digest, Sha256};
use std::vec::Vec;

fn drain(w: &mut World) -> Vec<Record> {
    let mut all = Vec::new();
    loop {
        let address = w.arguments(w.manager);
        if w.ok(w.manager, Syscall::AuditDrain, [AUDIT.into(), address, 1, 0, 0]) == 0 {
            return all;
        }
        all.push(w.get(w.manager));
    }
}

fn chain(records: &[Record], mut digest: [u8; 32]) -> [u8; 32] {
    for record in records {
        let mut hash = Sha256::new();
        hash.update(digest);
        hash.update(&record.as_bytes()[..HASHED_BYTES]);
        digest = hash.finalize().into();
        assert_eq!(record.digest, digest, "record {}", record.sequence);
    }
    digest
}

#[test]
fn what_decides_over_others_is_recorded_with_actor_and_subject() {
    let mut w = World::new();
    let child = w.child();
    w.ok(w.manager, Syscall::SandboxFreeze, [child.cap.into(), 9, 0, 0, 0]);
    let (actor, subject) = (w.k.sandboxes[w.manager.sandbox].serial, w.k.sandboxes[child.sandbox].serial);
    let records = drain(&mut w);
    let of = |event: Event| records.iter().filter(move |r| r.event == event as u32).collect::<Vec<_>>();
    let created = of(Event::SandboxCreated);
    assert_eq!(
        (created[0].actor, created[0].subject, &created[0].text[..5]),
        (actor, subject, &b"child"[..])
    );
    assert_eq!(&of(Event::Purpose)[0].text[..4], b"test");
    assert_eq!((of(Event::SandboxFrozen)[0].subject, of(Event::SandboxFrozen)[0].b), (subject, 9));
    chain(&records, [0; 32]);
}

#[test]
fn the_end_of_an_account_is_on_record_with_what_it_gave_back() {
    let mut w = World::new();
    let account = w.account(ACCOUNT, 32, 4);
    drain(&mut w);
    w.ok(w.manager, Syscall::Destroy, [SELF.into(), account.into(), 0, 0, 0]);
    let records = drain(&mut w);
    let actor = w.k.sandboxes[w.manager.sandbox].serial;
    let [ended] =
        records.iter().filter(|r| r.event == Event::AccountDestroyed as u32).collect::<Vec<_>>()[..]
    else {
        panic!("{records:?}");
    };
    assert_eq!((ended.actor, ended.a, &ended.text[..5]), (actor, 32, &b"child"[..]));
}

#[test]
fn a_new_sandbox_is_on_record_with_its_name_and_its_purpose() {
    let mut w = World::new();
    drain(&mut w);
    let (name, purpose) = (name_bytes("netstack-v1.3.0-temp"), name_bytes("rolling update"));
    let spec = SandboxSpec { name, purpose, ..sandbox_spec("", 15, 64) };
    let child = w.child_with(ACCOUNT, &spec);
    let (actor, subject) = (w.k.sandboxes[w.manager.sandbox].serial, w.k.sandboxes[child.sandbox].serial);
    let got: Vec<_> = drain(&mut w)
        .iter()
        .filter(|r| [Event::SandboxCreated as u32, Event::Purpose as u32].contains(&r.event))
        .map(|r| (r.event, r.actor, r.subject, r.text))
        .collect();
    let due = [(Event::SandboxCreated, name), (Event::Purpose, purpose)];
    assert_eq!(got, due.map(|(event, text)| (event as u32, actor, subject, text)));
}

#[test]
fn who_ends_itself_is_on_record_as_the_one_who_did() {
    let mut w = World::new();
    let (exits, faults, burns, ends) = (w.child(), w.child(), w.child(), w.child());
    w.give(ends.cap, ends, 3, Rights::MANAGE);
    w.ok(w.manager, Syscall::SandboxFuse, [burns.cap.into(), 1, 5, 0, 0]);
    let serials = [exits, faults, burns, ends].map(|child| w.k.sandboxes[child.sandbox].serial);
    drain(&mut w);
    assert_eq!(w.sys(exits, Syscall::Exit, [0; 5]), None);
    w.k.run_instead(faults.thread);
    w.k.exception(14, 4, 0);
    w.k.choose_next();
    assert_eq!(w.sys(burns, Syscall::Now, [0; 5]), None);
    assert_eq!(w.sys(ends, Syscall::Destroy, [0, 3, 0, 0, 0]), None);
    while w.k.dismantle_some() {}
    let got: Vec<_> = drain(&mut w).iter().map(|r| (r.event, r.actor, r.subject)).collect();
    let frozen = serials.map(|serial| (Event::SandboxFrozen as u32, serial, serial));
    let destroyed = (Event::SandboxDestroyed as u32, serials[3], serials[3]);
    assert_eq!(got, [&frozen[..], &[destroyed]].concat());
}

#[test]
fn what_is_taken_apart_later_is_on_record_as_done_by_who_ended_it() {
    let mut w = World::new();
    let (child, other) = (w.child(), w.child());
    let more = w.threads(child, 200);
    assert_eq!(more.len(), 200);
    let (actor, subject) = (w.k.sandboxes[w.manager.sandbox].serial, w.k.sandboxes[child.sandbox].serial);
    w.ok(w.manager, Syscall::CapDelete, [0, child.cap.into(), 0, 0, 0]);
    assert!(w.k.has_remains(), "200 threads are more than one entry takes apart");
    drain(&mut w);
    w.k.run_instead(other.thread);
    while w.k.dismantle_some() {}
    let records = drain(&mut w);
    let ended = records.iter().find(|r| r.event == Event::SandboxDestroyed as u32).expect("recorded");
    assert_eq!((ended.actor, ended.subject), (actor, subject), "the one that runs has nothing to do with it");
}

#[test]
fn what_changes_another_sandboxs_space_is_recorded_and_ones_own_is_not() {
    let mut w = World::new();
    let (child, n) = (w.child(), w.notification());
    drain(&mut w);
    let (own, free) = (w.slot(), w.slot());
    let (space, n) = (u64::from(child.cap), u64::from(n));
    w.ok(w.manager, Syscall::CapCopy, [0, own.into(), 0, n, Rights::SEND.bits().into()]);
    w.ok(w.manager, Syscall::CapMove, [0, free.into(), 0, own.into(), 0]);
    w.ok(w.manager, Syscall::CapDelete, [0, free.into(), 0, 0, 0]);
    assert!(drain(&mut w).is_empty(), "its own space is its own affair");
    w.ok(w.manager, Syscall::CapCopy, [space, 20, 0, n, Rights::SEND.bits().into()]);
    w.ok(w.manager, Syscall::CapMove, [space, 21, space, 20, 0]);
    w.ok(w.manager, Syscall::CapMove, [0, own.into(), space, 21, 0]);
    w.ok(w.manager, Syscall::CapMove, [space, 22, 0, own.into(), 0]);
    assert_eq!(w.refused(w.manager, Syscall::CapDelete, [space, 23, 0, 0, 0]), Error::InvalidHandle);
    w.ok(w.manager, Syscall::CapDelete, [space, 22, 0, 0, 0]);
    let (doomed, all) = (w.notification(), Rights::all().bits().into());
    w.ok(w.manager, Syscall::CapCopy, [space, 24, 0, doomed.into(), all]);
    let index = u64::from(w.k.cap(w.manager.sandbox, doomed).expect("filled").object.id.index);
    w.ok(w.manager, Syscall::Destroy, [space, 24, 0, 0, 0]);
    let doomed = ObjectType::Notification as u64 | index << 32;
    let (actor, other) = (w.k.sandboxes[w.manager.sandbox].serial, w.k.sandboxes[child.sandbox].serial);
    let index = u64::from(w.k.cap(w.manager.sandbox, n as u32).expect("kept").object.id.index);
    let a = ObjectType::Notification as u64 | index << 32;
    let due = [
        (Event::CapabilityCopied, other),
        (Event::CapabilityMoved, other),
        (Event::CapabilityMoved, actor),
        (Event::CapabilityMoved, other),
        (Event::CapabilityDeleted, other),
    ];
    let due = due.map(|(event, subject)| (event as u32, actor, subject, a, Rights::SEND.bits().into()));
    let of_doomed = [Event::CapabilityCopied, Event::CapabilityDeleted];
    let of_doomed = of_doomed.map(|event| (event as u32, actor, other, doomed, all));
    let due = [&due[..], &of_doomed[..]].concat();
    let got: Vec<_> = drain(&mut w).iter().map(|r| (r.event, r.actor, r.subject, r.a, r.b)).collect();
    assert_eq!(got, due);
}

#[test]
fn records_are_chained_over_several_drains_without_holes() {
    let mut w = World::new();
    let p = pair(&mut w);
    let mut all = drain(&mut w);
    for _ in 0..10 {
        w.ok(w.manager, Syscall::PortSwitch, [p.port.into(), p.endpoint.into(), 0, 0, 0]);
        all.extend(drain(&mut w));
    }
    chain(&all, [0; 32]);
    assert!(all.iter().enumerate().all(|(n, r)| r.sequence == n as u64));
}

#[test]
fn what_does_not_fit_is_counted_in_a_gap_record() {
    let mut w = World::new();
    let p = pair(&mut w);
    drain(&mut w);
    for _ in 0..AUDIT_RECORDS + 100 {
        w.ok(w.manager, Syscall::PortSwitch, [p.port.into(), p.endpoint.into(), 0, 0, 0]);
    }
    let kept = drain(&mut w);
    w.ok(w.manager, Syscall::PortSwitch, [p.port.into(), p.endpoint.into(), 0, 0, 0]);
    let after = drain(&mut w);
    assert_eq!(after[0].event, Event::Gap as u32);
    assert_eq!(kept.len() as u64 + after[0].a, AUDIT_RECORDS as u64 + 100);
    assert_eq!(after[0].sequence, kept[kept.len() - 1].sequence + 1, "a gap in time, none in the numbers");
}

#[test]
fn draining_needs_the_right_and_memory_for_what_is_asked() {
    let mut w = World::new();
    let child = w.child();
    w.give(AUDIT, child, 3, Rights::INSPECT);
    let address = w.arguments(child);
    assert_eq!(w.refused(child, Syscall::AuditDrain, [3, address, 1, 0, 0]), Error::MissingRights);
    let refused = w.refused(w.manager, Syscall::AuditDrain, [AUDIT.into(), 8, 4, 0, 0]);
    assert_eq!(refused, Error::BadAddress);
    assert!(!drain(&mut w).is_empty(), "nothing was lost by that");
}

#[test]
fn a_logged_line_carries_time_and_name_and_no_control_characters() {
    let mut w = World::new();
    let child = w.child();
    let address = w.put(child, b"a\x1b[2Jb\nc");
    w.ok(child, Syscall::LogWrite, [0, address, 8, 0, 0]);
    assert!(w.k.machine.printed.ends_with(b"child: a [2Jb c\n"), "{:?}", w.k.machine.printed);
    let to = w.arguments(w.manager);
    let read = w.sys(w.manager, Syscall::LogRead, [LOG.into(), 0, to, 240, 0]);
    let (bytes, first) = read.expect("does not block").expect("read");
    assert_eq!((bytes, first), (w.k.machine.printed.len() as u64, 0));
    assert_eq!(w.refused(child, Syscall::LogWrite, [0, address, 241, 0, 0]), Error::InvalidArgument);
}

#[test]
fn whoever_watches_the_log_is_told_and_the_kernel_prints_no_more() {
    let mut w = World::new();
    let (child, n) = (w.child(), w.notification());
    w.ok(w.manager, Syscall::LogWatch, [LOG.into(), n.into(), 4, 0, 0]);
    let address = w.put(child, b"line");
    w.ok(child, Syscall::LogWrite, [0, address, 4, 0, 0]);
    assert!(w.k.machine.printed.is_empty());
    assert_eq!(w.ok(w.manager, Syscall::Wait, [n.into(), 0, 0, 0, 0]), 4);
    w.ok(w.manager, Syscall::Destroy, [0, n.into(), 0, 0, 0]);
    w.ok(child, Syscall::LogWrite, [0, address, 4, 0, 0]);
    assert!(!w.k.machine.printed.is_empty(), "without a watcher it prints again");
}

fn inspect<T: Plain>(w: &mut World, what: What, index: u64) -> T {
    let address = w.arguments(w.manager);
    let bytes = size_of::<T>() as u64;
    w.ok(w.manager, Syscall::Inspect, [AUDIT.into(), what as u64, index, address, bytes]);
    w.get(w.manager)
}

#[test]
fn inspection_accounts_for_every_frame_and_finds_every_sandbox() {
    let mut w = World::new();
    let child = w.child();
    let memory: MemoryInfo = inspect(&mut w, What::Memory, 0);
    assert_eq!(memory.total, memory.kernel + memory.free + memory.charged);
    let info: SandboxInfo = inspect(&mut w, What::Sandbox, child.sandbox.into());
    assert_eq!((info.threads, info.frozen, info.slots, &info.name[..5]), (1, 0, 64, &b"child"[..]));
    let system: SystemInfo = inspect(&mut w, What::System, 0);
    assert_eq!((system.sandboxes, system.threads), (2, 2));
    let slot = u64::from(w.manager.sandbox) << 32 | u64::from(AUDIT);
    let cap: CapInfo = inspect(&mut w, What::Capability, slot);
    assert_eq!(cap.object_type, hic_abi::ObjectType::Audit as u64);
    check(&w.k);
}

#[test]
fn inspection_needs_its_right_and_exact_sizes_and_ends_where_the_list_ends() {
    let mut w = World::new();
    let child = w.child();
    w.give(AUDIT, child, 3, Rights::READ);
    let address = w.arguments(child);
    assert_eq!(w.refused(child, Syscall::Inspect, [3, 0, 0, address, 40]), Error::MissingRights);
    let address = w.arguments(w.manager);
    let mut refused = |what, index, bytes| {
        w.refused(w.manager, Syscall::Inspect, [AUDIT.into(), what, index, address, bytes])
    };
    assert_eq!(refused(0, 0, 39), Error::InvalidArgument);
    assert_eq!(refused(6, 0, 40), Error::InvalidArgument);
    for what in [What::Account, What::Sandbox, What::Port, What::Capability] {
        for index in [1 << 20, u64::MAX, 1 << 63] {
            assert_eq!(refused(what as u64, index, 80), Error::InvalidHandle, "{what:?}");
        }
    }
}

#[test]
fn power_is_for_its_holder_alone() {
    let mut w = World::new();
    let child = w.child();
    w.give(POWER, child, 3, Rights::READ);
    assert_eq!(w.refused(child, Syscall::Power, [3, 0, 0, 0, 0]), Error::MissingRights);
    assert_eq!(w.refused(w.manager, Syscall::Power, [POWER.into(), 3, 0, 0, 0]), Error::InvalidArgument);
    assert_eq!(w.k.machine.power, None);
    w.ok(w.manager, Syscall::Power, [POWER.into(), 1, 0, 0, 0]);
    assert_eq!(w.k.machine.power, Some(PowerAction::Reset));
}

#[test]
fn random_bytes_come_from_the_hardware_or_not_at_all() {
    let mut w = World::new();
    let address = w.arguments(w.manager);
    w.ok(w.manager, Syscall::Entropy, [ENTROPY.into(), address, 16, 0, 0]);
    assert_eq!(w.get::<hic_abi::start::ClockPage>(w.manager).scale, 0xa5a5_a5a5_a5a5_a5a5);
    let too_many = w.refused(w.manager, Syscall::Entropy, [ENTROPY.into(), address, 257, 0, 0]);
    assert_eq!(too_many, Error::InvalidArgument);
    w.k.machine.has_entropy = false;
    let none = w.refused(w.manager, Syscall::Entropy, [ENTROPY.into(), address, 16, 0, 0]);
    assert_eq!(none, Error::NotSupported);
}

#[test]
fn a_note_names_its_author_and_needs_the_right_to_write() {
    let mut w = World::new();
    let child = w.child();
    w.give(AUDIT, child, 3, Rights::READ);
    let address = w.put(child, b"update refused: signature       ");
    let args = [3, 7, 9, address, 0];
    assert_eq!(w.refused(child, Syscall::AuditNote, args), Error::MissingRights);
    w.give(AUDIT, child, 4, Rights::WRITE);
    w.ok(child, Syscall::AuditNote, [4, 7, 9, address, 0]);
    let note = drain(&mut w).pop().unwrap();
    let serial = w.k.sandboxes[child.sandbox].serial;
    assert_eq!((note.event, note.actor, note.a, note.b), (14, serial, 7, 9));
    assert_eq!(&note.text, b"update refused: signature       ");
}
