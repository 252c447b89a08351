//! What the model knows: objects by number, capabilities by place, mappings in a list. Nothing is kept twice; who waits for whom, what an
//! account is charged and how many hold a port are counted whenever somebody asks.

use super::devices::{Device, PortAccess};
use super::turns::{Time, Turns};
use hic_abi::audit::Event;
use hic_abi::{ObjectType, PAGE_SIZE, Rights, USER_BASE};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::string::String;
use std::vec::Vec;

/// Number of an object; never used again.
pub type Id = u64;

/// An object, who pays for it, and what it is.
#[derive(Debug)]
pub struct Object {
    pub payer: Option<Id>,
    /// Lives without a capability: what the machine began with.
    pub kept: bool,
    pub body: Body,
}

#[derive(Debug)]
pub enum Body {
    Account(Account),
    Sandbox(Sandbox),
    Thread(Thread),
    Region(Region),
    Endpoint(Endpoint),
    Port(Port),
    Notification(Notification),
    Irq(Irq),
    Device(Device),
    /// I/O ports: the first, and how many.
    Ports(u64, u64),
    /// Something that can be held and does nothing here.
    Other(ObjectType),
}

#[derive(Debug)]
pub struct Account {
    pub frames_limit: u64,
    pub objects_limit: u64,
    pub name: Name,
}

/// 32 bytes of text, as four words.
pub type Name = [u64; 4];

/// A record of the audit log, as it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub event: u64,
    /// Serial numbers of who did it, and of whom it concerns.
    pub actor: u64,
    pub subject: u64,
    pub a: u64,
    pub b: u64,
    pub text: Name,
    pub nanos: u64,
}

#[derive(Debug, Default)]
pub struct Sandbox {
    pub serial: u64,
    pub slots: u64,
    pub priority: u64,
    pub frozen: bool,
    /// Being taken apart.
    pub ending: bool,
    pub fault_port: Option<Id>,
    pub fault: [u64; 4],
    /// Calls left, and the reason.
    pub fuse: (u64, u64),
    pub threads: Vec<Id>,
    pub name: Name,
    pub time: Time,
}

/// The registers that calls use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    pub rax: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub r10: u64,
    pub r8: u64,
    pub r9: u64,
    pub r12: u64,
    pub r13: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    Ready,
    /// Queued on this port.
    Queued(Id),
    /// Received by this thread.
    Awaiting(Id),
    /// Waits on this endpoint.
    Receiving(Id),
    /// Waits on this notification.
    Waiting(Id),
    /// Carries the fault of its sandbox on this port.
    Faulted(Id),
    Stopped,
}

#[derive(Debug)]
pub struct Thread {
    pub sandbox: Id,
    pub doing: Doing,
    pub deadline: u64,
    pub bound: Option<Id>,
    pub entry: u64,
    pub registers: Registers,
}

#[derive(Debug)]
pub struct Region {
    pub base: u64,
    pub pages: u64,
    /// Read-only pages, executable pages, guard page.
    pub seal: Option<[u64; 3]>,
    /// The kernel's own page, which is never sealed.
    pub clock: bool,
    /// It is a window on device registers; these of its pages nobody maps.
    pub window: Option<core::ops::Range<u64>>,
}

#[derive(Debug, Default)]
pub struct Endpoint {
    /// Ports with callers, in the order in which they are served.
    pub turn: VecDeque<Id>,
    pub bell: Option<Id>,
}

#[derive(Debug)]
pub struct Port {
    pub endpoint: Id,
    pub badge: u64,
    pub queue: VecDeque<Id>,
    pub watch: Option<(Id, u64)>,
    pub switches: u64,
}

#[derive(Debug, Default)]
pub struct Notification {
    pub bits: u64,
}

#[derive(Debug, Default)]
pub struct Irq {
    pub count: u64,
    pub latched: bool,
    pub target: Option<(Id, u64)>,
    /// Which of the device's vectors; otherwise it is a line of the machine.
    pub entry: Option<u64>,
}

/// A capability; its place is the key under which it lies.
#[derive(Clone, Copy, Debug)]
pub struct Cap {
    pub number: u64,
    pub object: Id,
    pub kind: ObjectType,
    pub rights: Rights,
    pub parent: Option<u64>,
}

/// Sandbox and slot.
pub type Place = (Id, u32);

/// A region in a sandbox or in a device.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    pub region: Id,
    pub space: Id,
    /// The sandbox that made it, until that held no capability on the region any more.
    pub maker: Option<Id>,
    pub rights: Rights,
}

/// The whole system.
pub struct Model {
    pub objects: BTreeMap<Id, Object>,
    pub caps: BTreeMap<Place, Cap>,
    pub mappings: Vec<Mapping>,
    /// Pages of regions, by physical address.
    pub memory: BTreeMap<u64, Vec<u8>>,
    pub now: u64,
    /// Sandboxes that end, in order.
    pub ending: VecDeque<Id>,
    /// What the kernel chose freely, and chose wrong.
    pub complaints: Vec<String>,
    /// Where usable memory lies.
    pub usable: core::ops::Range<u64>,
    pub next: u64,
    /// Audit records that are due since the last comparison.
    pub records: Vec<Due>,
    /// Serial number of the sandbox whose step this is; 0 = none.
    pub acting: u64,
    /// How the system was to be ended, last.
    pub power: Option<u64>,
    pub turns: Turns,
    /// Whether there is an IOMMU.
    pub confined: bool,
    /// Accesses to I/O ports.
    pub ports: Vec<PortAccess>,
}

/// `fn name(&self, id) -> &Type` and its mutable form.
macro_rules! part {
    ($($get:ident $get_mut:ident $kind:ident),+ $(,)?) => {
        impl Model {
            $(
                pub fn $get(&self, id: Id) -> &$kind {
                    match self.objects.get(&id).map(|object| &object.body) {
                        Some(Body::$kind(part)) => part,
                        other => panic!("{id} is no {}: {other:?}", stringify!($get)),
                    }
                }

                pub fn $get_mut(&mut self, id: Id) -> &mut $kind {
                    match self.objects.get_mut(&id).map(|object| &mut object.body) {
                        Some(Body::$kind(part)) => part,
                        other => panic!("{id} is no {}: {other:?}", stringify!($get)),
                    }
                }
            )+
        }
    };
}

part!(
    account account_mut Account,
    sandbox sandbox_mut Sandbox,
    thread thread_mut Thread,
    region region_mut Region,
    endpoint endpoint_mut Endpoint,
    port port_mut Port,
    notification notification_mut Notification,
    irq irq_mut Irq,
    device device_mut Device,
);

impl Model {
    pub fn new(usable: core::ops::Range<u64>, now: u64) -> Self {
        Self {
            objects: BTreeMap::new(),
            caps: BTreeMap::new(),
            mappings: Vec::new(),
            memory: BTreeMap::new(),
            now,
            ending: VecDeque::new(),
            complaints: Vec::new(),
            usable,
            next: 1,
            records: Vec::new(),
            acting: 0,
            power: None,
            turns: Turns::default(),
            confined: false,
            ports: Vec::new(),
        }
    }

    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    pub fn add(&mut self, payer: Option<Id>, body: Body) -> Id {
        let id = self.number();
        self.objects.insert(id, Object { payer, kept: false, body });
        id
    }

    /// Whether there is such an object, and it is not a sandbox that waits to be taken apart.
    pub fn lives(&self, id: Id) -> bool {
        match self.objects.get(&id).map(|object| &object.body) {
            Some(Body::Sandbox(sandbox)) => !sandbox.ending,
            found => found.is_some(),
        }
    }

    /// A record of what the acting sandbox does.
    pub fn record(&mut self, event: Event, subject: u64, a: u64, b: u64, text: Name) {
        let (event, actor, nanos) = (event as u64, self.acting, self.now);
        self.records.push(Due { event, actor, subject, a, b, text, nanos });
    }

    pub fn kind(&self, id: Id) -> ObjectType {
        match &self.objects[&id].body {
            Body::Account(_) => ObjectType::Account,
            Body::Sandbox(_) => ObjectType::Sandbox,
            Body::Thread(_) => ObjectType::Thread,
            Body::Region(region) if region.clock => ObjectType::Clock,
            Body::Region(Region { window: Some(_), .. }) => ObjectType::Mmio,
            Body::Device(_) => ObjectType::Device,
            Body::Region(_) => ObjectType::Region,
            Body::Endpoint(_) => ObjectType::Endpoint,
            Body::Port(_) => ObjectType::Port,
            Body::Notification(_) => ObjectType::Notification,
            Body::Irq(_) => ObjectType::Irq,
            Body::Ports(..) => ObjectType::IoPorts,
            Body::Other(kind) => *kind,
        }
    }

    /// All live objects of a type, oldest first.
    pub fn all(&self, kind: ObjectType) -> Vec<Id> {
        self.objects.keys().copied().filter(|id| self.kind(*id) == kind).collect()
    }

    pub fn objects_used(&self, account: Id) -> u64 {
        self.objects.values().filter(|object| object.payer == Some(account)).count() as u64
    }

    /// Frames that an account pays for, and how many of them are page tables.
    pub fn frames_used(&self, account: Id) -> (u64, u64) {
        let (mut frames, mut tables) = (0, 0);
        for (id, object) in &self.objects {
            match &object.body {
                Body::Device(_) if self.payer_of(*id) == Some(account) => {
                    tables += self.tables_of_device(*id)
                }
                _ if object.payer != Some(account) => {}
                Body::Region(Region { window: None, pages, .. }) => frames += pages,
                Body::Sandbox(sandbox) => {
                    frames += 1 + sandbox.slots / 64;
                    tables += tables_for(self.reach(*id).keys().copied());
                }
                _ => {}
            }
        }
        (frames + tables, tables)
    }

    pub fn frames_left(&self, account: Id) -> u64 {
        self.account(account).frames_limit - self.frames_used(account).0
    }

    pub fn objects_left(&self, account: Id) -> u64 {
        self.account(account).objects_limit - self.objects_used(account)
    }

    pub fn is_unused(&self, account: Id) -> bool {
        self.frames_used(account).0 == 0 && self.objects_used(account) == 0
    }

    pub fn is_named(&self, object: Id) -> bool {
        self.objects[&object].kept || self.caps.values().any(|cap| cap.object == object)
    }

    /// Whether a sandbox may read the region of a mapping, and do whatever else it was mapped for.
    pub fn allows(&self, sandbox: Id, mapping: &Mapping) -> bool {
        let needed = mapping.rights | Rights::READ;
        self.caps.iter().any(|(place, cap)| {
            place.0 == sandbox && cap.object == mapping.region && cap.rights.contains(needed)
        })
    }

    pub fn senders(&self, port: Id) -> u64 {
        self.caps.values().filter(|cap| cap.object == port && cap.rights.contains(Rights::SEND)).count()
            as u64
    }

    /// How many capabilities derive directly from each.
    pub fn children(&self) -> BTreeMap<u64, u64> {
        let mut children = BTreeMap::new();
        for parent in self.caps.values().filter_map(|cap| cap.parent) {
            *children.entry(parent).or_default() += 1;
        }
        children
    }

    /// The thread that does this, if one does.
    pub fn who(&self, doing: Doing) -> Option<Id> {
        self.threads().find(|(_, thread)| thread.doing == doing).map(|(id, _)| id)
    }

    /// The thread whose receive the bits of this notification end.
    pub fn bound_to(&self, notification: Id) -> Option<Id> {
        self.threads().find(|(_, thread)| thread.bound == Some(notification)).map(|(id, _)| id)
    }

    pub fn threads(&self) -> impl Iterator<Item = (Id, &Thread)> {
        self.objects.iter().filter_map(|(id, object)| match &object.body {
            Body::Thread(thread) => Some((*id, thread)),
            _ => None,
        })
    }

    /// Pages that a sandbox or a device can reach, by physical address: whether it may write, whether it may execute.
    pub fn reach(&self, space: Id) -> BTreeMap<u64, (bool, bool)> {
        self.reach_of(space, |_| true)
    }

    /// The same of those regions alone.
    pub fn reach_of(&self, space: Id, of: impl Fn(&Region) -> bool) -> BTreeMap<u64, (bool, bool)> {
        let mut pages = BTreeMap::new();
        for mapping in self.mappings.iter().filter(|mapping| mapping.space == space) {
            let region = self.region(mapping.region);
            for page in (0..region.pages).filter(|_| of(region)) {
                let hidden = region.window.as_ref().is_some_and(|hidden| hidden.contains(&page));
                if let Some(access) = access(region.seal, page, mapping.rights).filter(|_| !hidden) {
                    pages.insert(region.base + page * PAGE_SIZE, access);
                }
            }
        }
        pages
    }
}

/// What a mapping with these rights may do with a page; `None` = it is not there.
fn access(seal: Option<[u64; 3]>, page: u64, rights: Rights) -> Option<(bool, bool)> {
    let open = (rights.contains(Rights::WRITE), false);
    match seal {
        None => Some(open),
        Some([read_only, ..]) if page < read_only => Some((false, false)),
        Some([read_only, execute, _]) if page < read_only + execute => {
            Some((false, rights.contains(Rights::EXECUTE)))
        }
        Some([_, _, guard]) if guard != 0 && page == guard => None,
        Some(_) => Some(open),
    }
}

/// Page tables below the top one that these pages need: one for each 2 MiB, each 1 GiB and each 512 GiB that has one of them.
pub fn tables_for(pages: impl Iterator<Item = u64>) -> u64 {
    let mut tables = BTreeSet::new();
    for page in pages {
        for shift in [21, 30, 39] {
            tables.insert((shift, (USER_BASE + page) >> shift));
        }
    }
    tables.len() as u64
}
