//! The director: makes everybody, runs the scenes, and checks that in the end nothing was lost, doubled or left behind.

use crate::extras::{BOARD, COUNTER, ENDPOINT, PORT, shared};
use crate::{deaths, order, switching};
use core::sync::atomic::Ordering::Relaxed;
use hic_abi::inspect::{MemoryInfo, PortInfo, SystemInfo, What};
use hic_abi::message::Fault;
use hic_abi::object::AccountSpec;
use hic_abi::{Handle, ObjectType, PAGE_SIZE, Rights, SELF, name_bytes};
use hic_rt::ipc::{self, Buffer, Received};
use hic_rt::loader::new_slot;
use hic_rt::{StartPage, cap, log, start, sys};
use hic_stage::{Actor, Casting, Failure, check, own_image, refused};
use ports_proof::{Board, Counter};

/// How the names of servers begin.
pub const SERVER: &str = "server-";
/// Name of the client.
pub const CLIENT: &str = "client";
/// How long the director waits for what must happen, nanoseconds.
pub const PATIENCE: u64 = 20_000_000_000;

const SERVER_NAMES: [&str; 2] = ["server-0", "server-1"];
/// All have the priority of the first sandbox, so that they take turns with it.
const PRIORITY: u64 = 30;
/// Frames of the account that pays for the whole cast.
const FRAMES: u64 = 8192;
/// Objects of that account.
const OBJECTS: u64 = 4096;
/// Badge of the port that everybody calls.
const BADGE: u64 = 0x636f_756e_7465_7200;

/// A server and the slot of its space in which the receive right lies.
pub struct Server {
    /// Its sandbox.
    pub actor: Actor,
    /// The slot.
    pub receive: Handle,
}

/// Everybody and everything on the stage.
pub struct Director {
    page: &'static StartPage,
    image: hic_stage::Image,
    account: Handle,
    regions: [Handle; 2],
    /// What all see.
    pub board: &'static Board,
    /// What the servers keep.
    pub counter: &'static Counter,
    /// The endpoints of the two servers, and two at which nobody receives.
    pub endpoints: [Handle; 4],
    /// The port.
    pub port: Handle,
    port_index: u64,
    fault_endpoint: Handle,
    fault_port: Handle,
    /// The servers.
    pub servers: [Server; 2],
    client: Actor,
    buffer: Buffer,
}

/// Runs the whole proof.
pub fn run(page: &'static StartPage) -> Result<(), Failure> {
    // Maps the archive here for good, before the memory is counted.
    own_image(page)?;
    let before = Census::take(page)?;
    let account = new_slot()?;
    let spec = AccountSpec { frames: FRAMES, objects: OBJECTS, name: name_bytes("proof") };
    let root = start::require(page, "account:root").slot;
    sys::create_account(root, account, &spec).map_err(refused("account"))?;
    let mut director = Director::new(page, account)?;
    switching::run(&mut director)?;
    deaths::run(&mut director)?;
    order::run(&mut director)?;
    director.finish()?;
    // Refused as long as anything is charged to it.
    sys::destroy(SELF, account).map_err(refused("destroy the account"))?;
    cap::release(account);
    before.compare(&Census::take(page)?)
}

impl Director {
    fn new(page: &'static StartPage, account: Handle) -> Result<Self, Failure> {
        let image = own_image(page)?;
        let regions = [region(account)?, region(account)?];
        let [board_at, counter_at] = [map(regions[0])?, map(regions[1])?];
        let mut endpoints = [0; 4];
        for endpoint in &mut endpoints {
            *endpoint = new_endpoint(account)?;
        }
        let port = new_port(account, endpoints[0], BADGE)?;
        let fault_endpoint = new_endpoint(account)?;
        let fault_port = new_port(account, fault_endpoint, 0)?;
        let crew = Crew { image, account, regions, fault_port };
        let servers = [crew.server(0, Some(endpoints[0]))?, crew.server(1, Some(endpoints[1]))?];
        let client = crew.caller(CLIENT, port)?;
        for actor in [&servers[0].actor, &servers[1].actor, &client] {
            actor.start()?;
        }
        Ok(Self {
            page,
            image,
            account,
            regions,
            // SAFETY: the two regions are mapped here until `finish` drops them, after the last use; both records fit in a page.
            board: unsafe { shared(board_at) },
            // SAFETY: as above.
            counter: unsafe { shared(counter_at) },
            endpoints,
            port,
            port_index: find_port(page)?,
            fault_endpoint,
            fault_port,
            servers,
            client,
            buffer: Buffer::new(),
        })
    }

    fn crew(&self) -> Crew {
        let Self { image, account, regions, fault_port, .. } = *self;
        Crew { image, account, regions, fault_port }
    }

    /// A new server 0 without the receive right: it is moved to it later.
    pub fn understudy(&self) -> Result<Server, Failure> {
        self.crew().server(0, None)
    }

    /// A sandbox that calls the port.
    pub fn caller(&self, name: &'static str) -> Result<Actor, Failure> {
        self.crew().caller(name, self.port)
    }

    /// Leads the port to one of the endpoints.
    pub fn switch(&self, endpoint: usize) -> Result<(), Failure> {
        sys::port_switch(self.port, self.endpoints[endpoint]).map_err(refused("switch"))
    }

    /// Callers that are queued on the port.
    pub fn queued(&self) -> Result<u64, Failure> {
        port_info(self.page, self.port_index).map(|info| info.queued)
    }

    /// Lets the others run until something is so.
    pub fn until(
        &self,
        what: &'static str,
        mut is_so: impl FnMut() -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let end = sys::now() + PATIENCE;
        while !is_so()? {
            if sys::now() > end {
                return Err(Failure::Late(what));
            }
            sys::yield_now();
        }
        Ok(())
    }

    /// Lets the client get answers to this many more calls.
    pub fn let_count(&self, more: u64) -> Result<(), Failure> {
        let goal = self.board.calls.load(Relaxed) + more;
        self.until("calls go on", || Ok(self.board.calls.load(Relaxed) >= goal))
    }

    /// Waits for the fault of a sandbox.
    pub fn await_fault(&mut self, serial: u64, expected: Fault) -> Result<(), Failure> {
        let deadline = sys::now() + PATIENCE;
        let received = ipc::receive(self.fault_endpoint, &mut self.buffer, deadline);
        match received.map_err(refused("wait for a fault"))? {
            Received::Fault { sandbox, words, .. } => {
                check("sandbox that died", sandbox, serial)?;
                check("cause of death", words[0], expected as u64)
            }
            _ => Err(Failure::Late("a fault message")),
        }
    }

    /// Ends the client, checks the count, and destroys everything.
    fn finish(mut self) -> Result<(), Failure> {
        self.board.stop.store(1, Relaxed);
        self.await_fault(self.client.serial(), Fault::Exit)?;
        let calls = self.board.calls.load(Relaxed);
        check("answers that were wrong", self.board.wrong.load(Relaxed), 0)?;
        check("last number counted", self.counter.last(), calls)?;
        check("calls counted", self.counter.count(), calls)?;
        check("numbers refused", self.counter.refused(), 0)?;
        let (died, repeated) = (self.board.died.load(Relaxed), self.counter.repeated());
        log!("selftest: note {calls} calls, {died} of them cut by a death, {repeated} answered again");
        let [first, second] = self.servers;
        for actor in [first.actor, second.actor, self.client] {
            actor.destroy()?;
        }
        let slots = [self.port, self.fault_port, self.fault_endpoint];
        slots.into_iter().chain(self.endpoints).chain(self.regions).for_each(cap::drop_slot);
        Ok(())
    }
}

/// What is needed to make anybody.
struct Crew {
    image: hic_stage::Image,
    account: Handle,
    regions: [Handle; 2],
    fault_port: Handle,
}

impl Crew {
    fn actor(&self, name: &'static str) -> Result<Actor, Failure> {
        let casting = Casting { name, account: self.account, priority: PRIORITY, slots: 64, heap_pages: 0 };
        let mut actor = Actor::create(self.image, &casting)?;
        actor.share(BOARD, self.regions[0])?;
        actor.watch(self.fault_port)?;
        Ok(actor)
    }

    fn server(&self, number: usize, endpoint: Option<Handle>) -> Result<Server, Failure> {
        let mut actor = self.actor(SERVER_NAMES[number])?;
        actor.share(COUNTER, self.regions[1])?;
        let receive = actor.reserve(ENDPOINT, ObjectType::Endpoint);
        if let Some(endpoint) = endpoint {
            sys::cap_copy((actor.sandbox(), receive), (SELF, endpoint), Rights::RECEIVE)
                .map_err(refused("give the receive right"))?;
        }
        Ok(Server { actor, receive })
    }

    fn caller(&self, name: &'static str, port: Handle) -> Result<Actor, Failure> {
        let mut actor = self.actor(name)?;
        actor.grant(PORT, port, ObjectType::Port, Rights::SEND, (0, 0))?;
        Ok(actor)
    }
}

fn region(account: Handle) -> Result<Handle, Failure> {
    let slot = new_slot()?;
    sys::create_region(account, slot, PAGE_SIZE).map_err(refused("region"))?;
    Ok(slot)
}

fn map(region: Handle) -> Result<u64, Failure> {
    sys::region_map(SELF, region, Rights::READ | Rights::WRITE).map_err(refused("map"))
}

fn new_endpoint(account: Handle) -> Result<Handle, Failure> {
    let slot = new_slot()?;
    sys::create_endpoint(account, slot).map_err(refused("endpoint"))?;
    Ok(slot)
}

fn new_port(account: Handle, endpoint: Handle, badge: u64) -> Result<Handle, Failure> {
    let slot = new_slot()?;
    sys::create_port(account, slot, endpoint, badge).map_err(refused("port"))?;
    Ok(slot)
}

fn port_info(page: &StartPage, index: u64) -> Result<PortInfo, Failure> {
    let audit = start::require(page, "audit").slot;
    sys::inspect(audit, What::Port, index).map_err(refused("inspect the port"))
}

/// Where the port is in the kernel's table: its badge tells.
fn find_port(page: &StartPage) -> Result<u64, Failure> {
    let mut index = 0;
    while port_info(page, index)?.badge != BADGE {
        index += 1;
    }
    Ok(index)
}

/// Everything there is, to compare.
struct Census {
    memory: MemoryInfo,
    system: SystemInfo,
}

impl Census {
    fn take(page: &StartPage) -> Result<Self, Failure> {
        let audit = start::require(page, "audit").slot;
        let memory = sys::inspect(audit, What::Memory, 0).map_err(refused("count memory"))?;
        let system = sys::inspect(audit, What::System, 0).map_err(refused("count objects"))?;
        Ok(Self { memory, system })
    }

    fn compare(&self, after: &Self) -> Result<(), Failure> {
        check("free frames in the end", after.memory.free, self.memory.free)?;
        check("frames charged in the end", after.memory.charged, self.memory.charged)?;
        check("sandboxes in the end", after.system.sandboxes, self.system.sandboxes)?;
        check("threads in the end", after.system.threads, self.system.threads)?;
        check("ports in the end", after.system.ports, self.system.ports)?;
        check("endpoints in the end", after.system.endpoints, self.system.endpoints)?;
        check("regions in the end", after.system.regions, self.system.regions)?;
        check("capabilities in the end", after.system.capabilities, self.system.capabilities)?;
        log!("selftest: note {} frames free before and after", after.memory.free);
        Ok(())
    }
}
