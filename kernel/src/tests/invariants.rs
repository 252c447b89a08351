//! What holds between any two system calls, whoever made them.

use super::sim::{MEMORY_START, SimMachine};
use super::world::FRAMES;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::objects::{Backing, Header, ObjectRef, Queue, Space, State};
use crate::pool::{Id, Link, Pool};
use hic_abi::{ObjectType, PAGE_SIZE, Rights, USER_BASE};
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

type K = Kernel<SimMachine>;

/// Checks all of it.
pub fn check(k: &K) {
    memory_adds_up(k);
    objects_are_charged(k);
    capabilities_are_counted(k);
    waiting_is_mutual(k);
    queues_hold_the_ready(k);
    mappings_are_held(k);
    tables_match_mappings(k);
}

fn live<T>(pool: &Pool<T>) -> impl Iterator<Item = (u32, &T)> {
    (0..pool.touched()).filter_map(|i| pool.at(i).map(|value| (i, value)))
}

/// `total = kernel + free + charged`, with `charged` counted from the accounts.
fn memory_adds_up(k: &K) {
    let used: u64 = live(&k.accounts).map(|(_, a)| a.frames_used).sum();
    // A capability space is paid in frames, but lies in the kernel's own table.
    let spaces: u64 = live(&k.sandboxes).map(|(_, s)| u64::from(s.slots / 64)).sum();
    assert_eq!(
        k.total_frames,
        k.kernel_frames + k.frames.free_count() + k.frames.dirty_count() + used - spaces,
        "frames"
    );
    let limits: u64 = live(&k.accounts).map(|(_, a)| a.frames_limit).sum();
    assert_eq!(limits, FRAMES - k.kernel_frames, "limits are divided, never made");
    for (index, account) in live(&k.accounts) {
        assert!(account.frames_used <= account.frames_limit, "account {index} is over its frames");
        assert!(account.page_tables <= account.frames_used, "page tables of account {index} are not paid");
        assert!(account.objects_used <= account.objects_limit, "account {index} is over its objects");
    }
}

fn headers(k: &K) -> Vec<(ObjectType, u32, Header)> {
    let mut all = Vec::new();
    all.extend(live(&k.accounts).map(|(i, o)| (ObjectType::Account, i, o.header)));
    all.extend(live(&k.sandboxes).map(|(i, o)| (ObjectType::Sandbox, i, o.header)));
    all.extend(live(&k.threads).map(|(i, o)| (ObjectType::Thread, i, o.header)));
    let regions = live(&k.regions).filter(|(_, r)| r.backing != Backing::Boot);
    all.extend(regions.map(|(i, o)| (ObjectType::Region, i, o.header)));
    all.extend(live(&k.endpoints).map(|(i, o)| (ObjectType::Endpoint, i, o.header)));
    all.extend(live(&k.ports).map(|(i, o)| (ObjectType::Port, i, o.header)));
    all.extend(live(&k.notifications).map(|(i, o)| (ObjectType::Notification, i, o.header)));
    all.extend(live(&k.irqs).map(|(i, o)| (ObjectType::Irq, i, o.header)));
    all.extend(live(&k.io_ranges).map(|(i, o)| (ObjectType::IoPorts, i, o.header)));
    all
}

fn objects_are_charged(k: &K) {
    let mut owed: BTreeMap<u32, u64> = BTreeMap::new();
    for (_, _, header) in headers(k) {
        *owed.entry(header.account).or_default() += 1;
    }
    for (index, account) in live(&k.accounts) {
        let owed = owed.get(&index).copied().unwrap_or(0);
        assert_eq!(account.objects_used, owed, "objects charged to account {index}");
    }
}

/// Filled slots of all live sandboxes.
fn filled(k: &K) -> Vec<(u32, ObjectRef, Rights)> {
    let mut all = Vec::new();
    for (index, sandbox) in live(&k.sandboxes) {
        let caps = (sandbox.space..sandbox.space + sandbox.slots).filter_map(|place| k.caps.get(place));
        let before = all.len();
        let promised = |place: u32| k.caps.is_promised(place);
        assert!(
            !(sandbox.space..sandbox.space + sandbox.slots).any(promised),
            "a slot of sandbox {index} is promised"
        );
        for cap in caps {
            assert_eq!(cap.owner, index, "a capability knows in whose space it lies");
            all.push((index, cap.object, cap.rights));
        }
        assert_eq!(sandbox.filled as usize, all.len() - before, "filled slots of sandbox {index}");
    }
    all
}

fn capabilities_are_counted(k: &K) {
    let mut named: BTreeMap<(u64, u32), u32> = BTreeMap::new();
    let mut senders: BTreeMap<u32, u32> = BTreeMap::new();
    let mut holders = BTreeMap::new();
    for (owner, object, rights) in filled(k) {
        if !k.is_live(object) {
            continue;
        }
        if crate::memory::is_mappable(object.kind) {
            let of_owner: &mut Vec<Rights> =
                holders.entry((owner, object.kind as u64, object.id.index)).or_default();
            of_owner.push(rights);
        }
        let kind = if crate::memory::is_memory(object.kind) { ObjectType::Region } else { object.kind };
        *named.entry((kind as u64, object.id.index)).or_default() += 1;
        if object.kind == ObjectType::Port && rights.contains(Rights::SEND) {
            *senders.entry(object.id.index).or_default() += 1;
        }
    }
    for (kind, index, header) in headers(k) {
        let kept = match kind {
            ObjectType::Account => u32::from(k.accounts[index].name.starts_with(b"root")),
            ObjectType::Sandbox => u32::from(k.sandboxes[index].name.starts_with(b"manager")),
            _ => 0,
        };
        if kind == ObjectType::Sandbox && k.sandboxes[index].condemned {
            continue;
        }
        let count = named.get(&(kind as u64, index)).copied().unwrap_or(0);
        assert_eq!(header.capabilities, count + kept, "capabilities on {kind:?} {index}");
        let needed = !matches!(kind, ObjectType::Thread | ObjectType::Account);
        assert!(!needed || header.capabilities > 0, "{kind:?} {index} lives though nobody names it");
    }
    for (object, wanted) in mappable(k) {
        for (owner, _) in live(&k.sandboxes) {
            let held = holders.get(&(owner, object.kind as u64, object.id.index));
            let held = held.is_some_and(|held| held.iter().any(|rights| rights.contains(wanted)));
            let listed = k.caps.has_peer(object, owner, crate::pool::NONE, wanted);
            assert_eq!(listed, held, "whether sandbox {owner} has {wanted:?} on {object:?}");
        }
    }
    for (index, port) in live(&k.ports) {
        assert_eq!(port.senders, senders.get(&index).copied().unwrap_or(0), "senders of port {index}");
    }
}

/// Whatever can be mapped or mapped into, with the rights that mappings ask for.
fn mappable(k: &K) -> Vec<(ObjectRef, Rights)> {
    let (read, mut all) = (Rights::READ, Vec::new());
    for (index, region) in live(&k.regions) {
        let kind = match region.backing {
            Backing::Boot => ObjectType::Clock,
            Backing::Device { .. } => ObjectType::Mmio,
            Backing::Frames | Backing::Channel { .. } => ObjectType::Region,
        };
        let object = ObjectRef { kind, id: k.regions.id(index).expect("live") };
        all.extend([read, read | Rights::WRITE, read | Rights::EXECUTE].map(|rights| (object, rights)));
    }
    for (index, _) in live(&k.devices) {
        let id = k.devices.id(index).expect("live");
        all.push((ObjectRef { kind: ObjectType::Device, id }, Rights::MANAGE));
    }
    all
}

/// Each link between two objects is known to both.
fn waiting_is_mutual(k: &K) {
    let mut queued: BTreeMap<u32, u32> = BTreeMap::new();
    for (index, thread) in live(&k.threads) {
        let own = k.threads.id(index);
        match thread.state {
            State::Queued { port } | State::Faulted { port } => {
                assert!(k.ports.at(port).is_some(), "thread {index} waits on a port that is gone");
                *queued.entry(port).or_default() += 1;
            }
            State::Awaiting { server } => {
                assert_eq!(k.threads[server].serving, k.threads.link(index), "an answer is owed");
                let home = &k.sandboxes[k.threads[server].sandbox];
                assert!(!home.frozen || home.queue == Queue::Frozen, "the dead owe nothing");
            }
            State::Receiving { endpoint } => {
                assert_eq!(k.endpoints[endpoint].receiver, k.threads.link(index));
            }
            State::Waiting { notification } => {
                assert_eq!(k.notifications[notification].waiter, k.threads.link(index));
            }
            State::Ready | State::Stopped => {}
        }
        if let Some(bound) = thread.bound.filter(|&id| k.notifications.is_live(id)) {
            assert_eq!(k.notifications[bound.index].bound, own, "a binding is mutual");
        }
        let home = &k.sandboxes[thread.sandbox];
        let stopped = matches!(thread.state, State::Stopped | State::Faulted { .. });
        match home.queue {
            // Those before the mark, and whichever others met.
            Queue::Frozen => assert!(home.frozen && k.sched.current() != Some(index)),
            _ => assert_eq!(home.frozen, stopped, "threads of a frozen sandbox stand still, and only those"),
        }
    }
    for (index, port) in live(&k.ports) {
        assert_eq!(port.callers.len(), queued.get(&index).copied().unwrap_or(0), "queue of port {index}");
    }
    endpoints_link_their_ports(k);
}

fn endpoints_link_their_ports(k: &K) {
    for (index, endpoint) in live(&k.endpoints) {
        let mut pending = BTreeSet::new();
        let mut at = endpoint.pending.first();
        while let Some(port) = at {
            assert_eq!(Some(k.ports[port].endpoint), k.endpoints.id(index), "a pending port leads here");
            pending.insert(port);
            at = endpoint.pending.after(&k.ports, port);
        }
        let expected: BTreeSet<u32> = live(&k.ports)
            .filter(|(_, p)| !p.callers.is_empty() && Some(p.endpoint) == k.endpoints.id(index))
            .map(|(i, _)| i)
            .collect();
        assert_eq!(pending, expected, "ports with callers of endpoint {index}");
        assert_eq!(endpoint.pending.len() as usize, pending.len());
        if let Some(receiver) = endpoint.receiver.map(Link::index) {
            assert_eq!(k.threads[receiver].state, State::Receiving { endpoint: index });
            assert!(pending.is_empty(), "nobody waits for a message while there is one");
        }
    }
}

fn queues_hold_the_ready(k: &K) {
    for (index, sandbox) in live(&k.sandboxes) {
        let mut listed = BTreeSet::new();
        let mut at = sandbox.ready.first();
        while let Some(thread) = at {
            listed.insert(thread);
            at = sandbox.ready.after(&k.threads, thread);
        }
        let apart = [k.sched.current(), k.sched.handoff.map(Link::index)];
        let ready: BTreeSet<u32> = live(&k.threads)
            .filter(|(i, t)| t.sandbox == index && t.state == State::Ready && !apart.contains(&Some(*i)))
            .map(|(i, _)| i)
            .collect();
        assert_eq!(listed, ready, "ready threads of sandbox {index}");
        if sandbox.queue != Queue::Frozen {
            assert_eq!(sandbox.queue == Queue::Idle, ready.is_empty(), "queue of sandbox {index}");
            assert_eq!(sandbox.unstopped, None, "all threads of sandbox {index} that it froze are stopped");
        }
    }
    let mut unfinished = BTreeSet::new();
    let mut at = k.unfinished.first();
    while let Some(index) = at {
        unfinished.insert(index);
        at = k.unfinished.after(&k.sandboxes, index);
    }
    let due = live(&k.sandboxes).filter(|(_, s)| s.condemned || s.queue == Queue::Frozen).map(|(i, _)| i);
    assert_eq!(unfinished, due.collect(), "sandboxes with something to be done in parts");
}

fn mappings_are_held(k: &K) {
    let held: Vec<(u32, u32, Rights)> = filled(k)
        .into_iter()
        .filter(|(_, object, _)| crate::memory::is_memory(object.kind) && k.is_live(*object))
        .map(|(owner, object, rights)| (owner, object.id.index, rights))
        .collect();
    let allows = |sandbox: u32, m: &crate::objects::Mapping| {
        held.iter().any(|&(by, region, r)| (by, region) == (sandbox, m.region) && r.contains(m.rights))
    };
    for (index, sandbox) in live(&k.sandboxes) {
        let lent = |m: &crate::objects::Mapping| m.holder == index && m.space != Space::Sandbox(index);
        let count = live(&k.mappings).filter(|(_, m)| lent(m)).count();
        assert_eq!(sandbox.lent as usize, count, "mappings that sandbox {index} lent");
    }
    for (_, m) in live(&k.mappings) {
        assert!(
            allows(m.holder, m) || matches!(m.space, Space::Sandbox(sandbox) if allows(sandbox, m)),
            "region {} is mapped in {:?} with {:?} by nobody's capability",
            m.region,
            m.space,
            m.rights
        );
    }
}

/// Pages that ring 3 of a sandbox can reach: physical address, writable, executable.
pub fn pages(k: &K, sandbox: u32) -> Vec<(u64, bool, bool)> {
    let mut all = Vec::new();
    walk(k, k.sandboxes[sandbox].root, 4, (0, USER_BASE), &mut all);
    all
}

/// Pages that a device reaches: physical address, writable.
fn device_pages(k: &K, device: u32) -> Vec<(u64, bool)> {
    let mut all = Vec::new();
    if k.devices[device].dma_table != 0 {
        walk(k, k.devices[device].dma_table, 3, (0, 0), &mut all);
    }
    all.into_iter().map(|(page, write, _)| (page, write)).collect()
}

fn walk(k: &K, table: u64, level: u32, (base, offset): (u64, u64), all: &mut Vec<(u64, bool, bool)>) {
    let entries = if level == 4 && offset != 0 { 128..256 } else { 0..512 };
    for n in entries {
        let entry = k.machine.read_u64(table + n * 8);
        let address = base + (n << (12 + 9 * (level - 1)));
        let target = entry & 0x000f_ffff_ffff_f000;
        if entry & 1 == 0 {
            assert_eq!(entry, 0, "an entry that is not present is empty");
        } else if level == 1 {
            assert_eq!(address, offset + target, "one address for every byte of physical memory");
            all.push((target, entry & 2 != 0, entry >> 63 == 0));
        } else if level == 2 && entry & 0x80 != 0 {
            assert_eq!(address, offset + target, "one address for every byte of physical memory");
            let page = |n| (target + n * PAGE_SIZE, entry & 2 != 0, entry >> 63 == 0);
            all.extend((0..512).map(page));
        } else {
            walk(k, target, level - 1, (address, offset), all);
        }
    }
}

/// What is mapped is what the mappings say, and nothing is writable in one place and executable in another.
fn tables_match_mappings(k: &K) {
    let mut writable = BTreeSet::new();
    let mut executable = BTreeSet::new();
    for (index, _) in live(&k.sandboxes) {
        let mut allowed = BTreeSet::new();
        for (_, m) in live(&k.mappings).filter(|(_, m)| m.space == Space::Sandbox(index)) {
            let region = &k.regions[m.region];
            allowed.extend((0..region.pages).map(|page| region.base + page * PAGE_SIZE));
        }
        for (page, write, execute) in pages(k, index) {
            assert!(allowed.contains(&page), "sandbox {index} reaches {page:#x} without a mapping");
            if write {
                writable.insert(page);
            }
            if execute {
                executable.insert(page);
            }
        }
    }
    for (index, device) in live(&k.devices) {
        let mut allowed = BTreeSet::new();
        for (_, m) in live(&k.mappings).filter(|(_, m)| m.space == Space::Device(index)) {
            let region = &k.regions[m.region];
            allowed.extend((0..region.pages).map(|page| region.base + page * PAGE_SIZE));
        }
        assert_eq!(device.dma_table != 0, k.iommu.is_some(), "a table for device {index}");
        for (page, write) in device_pages(k, index) {
            assert!(allowed.contains(&page), "device {index} reaches {page:#x} without a mapping");
            if write {
                writable.insert(page);
            }
        }
    }
    assert!(writable.is_disjoint(&executable), "a page is written here and executed there");
}

/// Destroys every sandbox: then nothing is left but what the kernel itself holds, and free memory is zero.
pub fn nothing_is_left(mut k: K) {
    for index in 0..k.sandboxes.touched() {
        if let Some(id) = k.sandboxes.id(index) {
            k.destroy(ObjectRef { kind: ObjectType::Sandbox, id });
        }
    }
    while k.dismantle_some() || k.zero_some() {}
    assert_eq!((k.sandboxes.live(), k.threads.live(), k.mappings.live()), (0, 0, 0));
    assert_eq!((k.endpoints.live(), k.ports.live(), k.notifications.live()), (0, 0, 0));
    assert_eq!((k.irqs.live(), k.io_ranges.live(), k.regions.live()), (0, 0, 1), "the clock page stays");
    assert_eq!(k.accounts.live(), 1, "the root account stays");
    let root = k.accounts.at(0).expect("the root account");
    assert_eq!((root.frames_used, root.objects_used), (0, 0), "all charges came back");
    assert_eq!(root.frames_limit, FRAMES - k.kernel_frames, "all limits came back");
    assert_eq!((k.frames.free_count(), k.frames.dirty_count()), (FRAMES - k.kernel_frames, 0));
    assert!(k.unfinished.is_empty() && k.closing.is_empty());
    let clock = k.regions.id(0).map(|Id { index, .. }| k.regions[index].base).expect("the clock page");
    let remapper = k.machine.remapper.as_ref().filter(|_| k.iommu.is_some());
    let tables = remapper.map_or([0; 4], |remapper| remapper.tables(|at| k.machine.read_u64(at)));
    for frame in (MEMORY_START..MEMORY_START + FRAMES * PAGE_SIZE).step_by(PAGE_SIZE as usize) {
        let kernels = frame == clock || tables.contains(&frame);
        let zero = k.machine.bytes(frame, PAGE_SIZE) == [0; PAGE_SIZE as usize];
        assert!(kernels || zero, "the free frame {frame:#x} is not zero");
    }
}
