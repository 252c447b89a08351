//! The director: makes the driver and its victim, and compares what the device did with what it may do.

use crate::board::{BLANK, Board, FOREIGN_LINE, Signal, Target};
use crate::driver::physical;
use crate::edu::IDENTITY;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use hic_abi::audit::{Event, Record};
use hic_abi::inspect::{SystemInfo, What};
use hic_abi::message::Fault;
use hic_abi::object::AccountSpec;
use hic_abi::{Handle, ObjectType, PAGE_SIZE, Plain, Rights, name_bytes, name_str};
use hic_control::grants;
use hic_rt::ipc::{self, Buffer, Received};
use hic_rt::loader::new_slot;
use hic_rt::region::Mapped;
use hic_rt::{StartPage, log, start, sys};
use hic_stage::{Actor, Casting, Failure, check, own_image, refused};

/// Name of the driver.
pub const DRIVER: &str = "driver";
const VICTIM: &str = "victim";
/// Names of what is shared.
pub const BOARD: &str = "state:board";
/// The region that stays mapped in the device.
pub const MAPPED: &str = "dma";
/// The region that is mapped in the device for a while.
pub const UNMAPPED: &str = "dma:unmapped";
const OWN: &str = "own";
/// A notification that nobody signals.
const BELL: &str = "bell";

const PRIORITY: u64 = 30;
const FRAMES: u64 = 2048;
const OBJECTS: u64 = 256;
/// How long the driver may take, nanoseconds: some 25 transfers of a tenth of a second each.
const PATIENCE: u64 = 60_000_000_000;
/// Where the kernel's image begins its code (kernel/linker.ld).
const KERNEL_CODE: u64 = 0x20_1000;

const BOTH: Rights = Rights::READ.union(Rights::WRITE);

struct Stage {
    account: Handle,
    board: Mapped,
    /// By target; the kernel has none.
    memory: [Option<Mapped>; Target::ALL.len()],
    confined: bool,
    /// Whether interrupts are remapped.
    remapped: bool,
    /// PCI function of the device.
    function: u64,
}

/// Runs the whole proof.
pub fn run(page: &'static StartPage) -> Result<(), Failure> {
    let stage = Stage::new(page)?;
    play(page, &stage)?;
    let (refusals, interrupts) =
        refusals(page)?.into_iter().partition(|r| r.event == Event::DmaRefused as u32);
    let (refusals, interrupts): (Vec<Record>, Vec<Record>) = (refusals, interrupts);
    for target in Target::ALL {
        stage.judge(target)?;
    }
    stage.judge_refusals(&refusals)?;
    stage.judge_interrupts(&interrupts)?;
    if stage.confined {
        log!("selftest: note confined: the mapped region was reached, {} accesses refused", refusals.len());
    } else {
        log!("selftest: note not confined: the device reached all {} targets", Target::ALL.len());
    }
    Ok(())
}

/// The victim does nothing but have memory.
pub fn wait(page: &'static StartPage) -> u64 {
    sys::wait(start::require(page, BELL).slot, hic_abi::FOREVER).unwrap_or_else(|error| error.code())
}

/// Starts the driver and its victim, and waits until the driver has tried everything.
fn play(page: &'static StartPage, stage: &Stage) -> Result<(), Failure> {
    let image = own_image(page)?;
    let (faults, fault_port) = (new_slot()?, new_slot()?);
    sys::create_endpoint(stage.account, faults).map_err(refused("endpoint"))?;
    sys::create_port(stage.account, fault_port, faults, 0).map_err(refused("port"))?;
    let casting =
        |name| Casting { name, account: stage.account, priority: PRIORITY, slots: 64, heap_pages: 16 };
    let mut victim = Actor::create(image, &casting(VICTIM))?;
    victim.share(OWN, stage.slot(Target::Victim)?)?;
    let bell = new_slot()?;
    sys::create_notification(stage.account, bell).map_err(refused("notification"))?;
    victim.grant(BELL, bell, ObjectType::Notification, Rights::RECEIVE, (0, 0))?;
    victim.start()?;
    let mut driver = Actor::create(image, &casting(DRIVER))?;
    driver.share(BOARD, stage.board.slot)?;
    for (name, target) in [(MAPPED, Target::Mapped), (UNMAPPED, Target::Unmapped), (OWN, Target::Own)] {
        driver.share(name, stage.slot(target)?)?;
    }
    let device = device(page)?;
    driver.grant(grants::DEVICE, device, ObjectType::Device, Rights::READ | Rights::MANAGE, (0, 0))?;
    driver.grant(grants::IRQ, foreign(page)?, ObjectType::Irq, Rights::empty(), (0, 0))?;
    driver.grant(grants::ACCOUNT, stage.account, ObjectType::Account, Rights::CHARGE, (0, 0))?;
    driver.watch(fault_port)?;
    driver.start()?;
    let mut buffer = Buffer::new();
    match ipc::receive(faults, &mut buffer, sys::now() + PATIENCE).map_err(refused("wait for the driver"))? {
        Received::Fault { words, .. } => {
            check("cause of the driver's end", words[0], Fault::Exit as u64)?;
            check("exit code of the driver", words[1], 0)
        }
        _ => Err(Failure::Late("the end of the driver")),
    }
}

/// The interrupt that the device shall not raise: nobody else uses that line.
fn foreign(page: &StartPage) -> Result<Handle, Failure> {
    let is_line = |g: &&hic_abi::start::Grant| name_str(&g.name) == grants::IRQ && g.address == FOREIGN_LINE;
    let found = start::grants(page).iter().find(is_line);
    found.map(|grant| grant.slot).ok_or(Failure::Late("the second serial line"))
}

fn device(page: &StartPage) -> Result<Handle, Failure> {
    let is_edu = |g: &&hic_abi::start::Grant| name_str(&g.name) == grants::DEVICE && g.address == IDENTITY;
    let found = start::grants(page).iter().find(is_edu);
    found.map(|grant| grant.slot).ok_or(Failure::Late("this machine has no edu device: it"))
}

impl Stage {
    fn new(page: &'static StartPage) -> Result<Self, Failure> {
        let account = new_slot()?;
        let spec = AccountSpec { frames: FRAMES, objects: OBJECTS, name: name_bytes("proof") };
        let root = start::require(page, "account:root").slot;
        sys::create_account(root, account, &spec).map_err(refused("account"))?;
        let audit = start::require(page, "audit").slot;
        let system: SystemInfo = sys::inspect(audit, What::System, 0).map_err(refused("inspect"))?;
        let info = sys::device_info(device(page)?).map_err(refused("device"))?;
        let mut stage = Self {
            account,
            board: memory(account)?,
            memory: [None; Target::ALL.len()],
            confined: system.dma_confined != 0,
            remapped: system.interrupts_remapped != 0,
            function: info.address,
        };
        for target in Target::ALL {
            let address = match target {
                Target::Kernel => KERNEL_CODE,
                _ => {
                    let mapped = memory(account)?;
                    // SAFETY: a page that was just made and mapped here for ever; nobody else has it yet.
                    unsafe { mapped.pointer().cast::<u64>().write_volatile(target.secret()) };
                    stage.memory[target as usize] = Some(mapped);
                    physical(mapped.address)
                }
            };
            stage.board().addresses[target as usize].store(address, Relaxed);
        }
        stage.board().spare_kernel.store(u64::from(!stage.confined), Relaxed);
        stage.board().spare_processor.store(u64::from(!stage.remapped), Relaxed);
        Ok(stage)
    }

    fn board(&self) -> &Board {
        // SAFETY: the region is a page, mapped here for ever, and `Board` is made of atomic words, for which zero is a value.
        unsafe { &*self.board.pointer().cast() }
    }

    fn slot(&self, target: Target) -> Result<Handle, Failure> {
        self.memory[target as usize].map(|mapped| mapped.slot).ok_or(Failure::Late("memory of a target"))
    }

    fn may_reach(&self, target: Target) -> bool {
        !self.confined || target == Target::Mapped
    }

    /// Compares what the device saw, and what is there now, with what may be.
    fn judge(&self, target: Target) -> Result<(), Failure> {
        let (name, may) = (target.name(), u64::from(self.may_reach(target)));
        let seen = self.board().seen[target as usize].load(Relaxed);
        let Some(mapped) = self.memory[target as usize] else {
            // What is there is the kernel's secret; it is neither empty nor what the buffer held before.
            return check(name, u64::from(![BLANK, 0, u64::MAX].contains(&seen)), may);
        };
        // SAFETY: mapped here for ever; the driver has ended, and its device with it.
        let now = unsafe { mapped.pointer().cast::<u64>().read_volatile() };
        check(name, u64::from(seen == target.secret()), may)?;
        check(name, now, if may == 1 { target.pattern() } else { target.secret() })
    }

    /// Each access that was refused is recorded: the device, the page, and what it wanted.
    fn judge_refusals(&self, found: &[Record]) -> Result<(), Failure> {
        let refused = Target::ALL.into_iter().filter(|target| !self.may_reach(*target));
        let expected: Vec<(u64, &str)> = refused
            .map(|target| self.board().addresses[target as usize].load(Relaxed))
            .flat_map(|address| [(address, "read"), (address, "write")])
            .collect();
        check("refusals recorded", found.len() as u64, expected.len() as u64)?;
        for (record, (address, verb)) in found.iter().zip(expected) {
            check("device of a refusal", record.a & 0xffff, self.function)?;
            check("page of a refusal", record.b, address & !(PAGE_SIZE - 1))?;
            check(verb, u64::from(name_str(&record.text) == verb), 1)?;
        }
        Ok(())
    }
}

impl Stage {
    /// An entry of nobody raises nothing, and stops nobody, where interrupts are remapped; elsewhere every message arrives. What else a machine
    /// that remaps lets through is its emulator's fault, and is said: QEMU 7.2 passes on what is in the old format, and does not
    /// know who wrote when a device writes by DMA.
    fn judge_interrupts(&self, refused: &[Record]) -> Result<(), Failure> {
        let raised = Signal::ALL.map(|signal| self.board().raised[signal as usize].load(Relaxed));
        let [nobodys, old, anothers, non_maskable] = raised;
        check("interrupt of nobody's entry", nobodys, u64::from(!self.remapped))?;
        check("other interrupts by a non-maskable one", non_maskable, 0)?;
        if !self.remapped {
            check("interrupt in the old format", old, 1)?;
            check("refused interrupts recorded", refused.len() as u64, 0)?;
            log!("selftest: note not remapped: the device raised what it wanted");
            return Ok(());
        }
        let through = |count| if count == 0 { "refused" } else { "let through by this machine" };
        log!(
            "selftest: note remapped: an entry of nobody refused, the old format {}, another's entry {}, {} records",
            through(old),
            through(anothers),
            refused.len()
        );
        Ok(())
    }
}

fn memory(account: Handle) -> Result<Mapped, Failure> {
    let slot = new_slot()?;
    sys::create_region(account, slot, PAGE_SIZE).map_err(refused("region"))?;
    Mapped::map(slot, BOTH).map_err(refused("map"))
}

fn refusals(page: &StartPage) -> Result<Vec<Record>, Failure> {
    let audit = start::require(page, "audit").slot;
    let (mut found, mut records) = (Vec::new(), [Record::zeroed(); 8]);
    loop {
        let count = sys::audit_drain(audit, &mut records).map_err(refused("audit"))?;
        let events = [Event::DmaRefused, Event::InterruptRefused].map(|event| event as u32);
        let wanted = |record: &&Record| events.contains(&record.event);
        found.extend(records.iter().take(count).filter(wanted).copied());
        if count == 0 {
            return Ok(found);
        }
    }
}
