//! Everybody and everything on the stage, and one run of a sandbox under trial.

use alloc::vec::Vec;
use core::fmt::Display;

use crate::child::{Child, Share};
use crate::props::{Gift, Props, Source};
use crate::{ECHO, FILLER, TRIAL, VICTIM};
use hic_abi::object::{SealSpec, ThreadSpec};
use hic_abi::{Error, Handle, PAGE_SIZE, Rights, SELF};
use hic_rt::ipc::{self, Buffer, Received};
use hic_rt::loader::{LoadError, at, new_slot};
use hic_rt::{StartPage, cap, log, sys};
use hic_stage::{Image, own_image};
use hostile::{Board, End, Expect, Task};

/// Above everyone but the director, so that a prop that runs does not delay a run. Its budget is small, and it goes on beyond it when nobody
/// else wants the processor.
pub const UNDER_TRIAL: Share = Share { priority: 20, budget: 1_000_000, period: 5_000_000, hard: false };
/// Whoever answers calls has a share of its own, or callers could use the processor through it.
const ECHO_SHARE: Share = Share { priority: 20, budget: 500_000, period: 5_000_000, hard: false };
/// Half of the processor, and never more: what is measured is what is guaranteed.
pub const VICTIM_SHARE: Share = Share { priority: 10, budget: 2_500_000, period: 5_000_000, hard: true };

/// Whoever takes what nobody wants, so that the processor never idles: how late an idle machine wakes up depends on the host.
const FILLER_SHARE: Share = Share { priority: 0, budget: 0, period: 0, hard: false };

/// How long a run may take, nanoseconds.
pub const PATIENCE: u64 = 2_000_000_000;

/// Both ways.
pub const RW: Rights = Rights::READ.union(Rights::WRITE);

/// What one run of the sandbox under trial is given, and how it must end.
pub struct Run<'a> {
    /// What it does.
    pub task: Task,
    /// Number of it.
    pub index: usize,
    /// Whether this is the control.
    pub granted: bool,
    /// Numbers for the board.
    pub args: &'a [u64],
    /// Capabilities.
    pub gifts: &'a [Gift],
    /// Regions of the director's that are mapped in it.
    pub shown: &'a [(Handle, Rights)],
    /// How it must end.
    pub expect: Expect,
}

/// What was tried and what came of it.
#[derive(Default)]
pub struct Tally {
    /// Attempts.
    pub attempts: u64,
    /// Controls.
    pub controls: u64,
    /// Sandboxes that died of an exception, as they had to.
    pub deaths: u64,
    /// What did not end as it must.
    pub failures: u64,
}

/// The stage.
pub struct Stage {
    /// The director's start page.
    pub page: &'static StartPage,
    /// This program's image.
    pub image: Image,
    /// Who pays for everybody.
    pub account: Handle,
    /// Where props come from.
    pub source: Source,
    /// What the director and the sandbox under trial share.
    pub board: &'static Board,
    /// What the director and the victim share.
    pub victim_board: &'static Board,
    /// A page of data of the sandbox under trial, mapped here too: its slot and address.
    pub data: (Handle, u64),
    boards: [Handle; 2],
    fault_endpoint: Handle,
    fault_port: Handle,
    echo: Child,
    echo_endpoint: Handle,
    victim: Child,
    filler: Option<Child>,
    buffer: Buffer,
    /// Results so far.
    pub tally: Tally,
}

/// A region of one page, mapped here: its slot and address.
pub fn page_of(account: Handle) -> Result<(Handle, u64), LoadError> {
    let slot = new_slot()?;
    let address = sys::create_region(account, slot, PAGE_SIZE).map_err(at("region"))?;
    sys::region_map(SELF, slot, RW).map_err(at("map"))?;
    Ok((slot, address))
}

/// The board in a page.
///
/// # Safety
/// A page that holds nothing but a board must be mapped writable at `address` for as long as the result is used.
pub unsafe fn board_at(address: u64) -> &'static Board {
    // SAFETY: the caller promises the mapping; pages are aligned, all zero is a board, and atomics may be shared.
    unsafe { &*(address as *const Board) }
}

impl Stage {
    /// Makes everybody, and starts those who run beside the one under trial.
    pub fn new(page: &'static StartPage, account: Handle) -> Result<Self, LoadError> {
        let image = own_image(page)?;
        let [(first, first_at), (second, second_at), data] =
            [page_of(account)?, page_of(account)?, page_of(account)?];
        let (fault_endpoint, fault_port, echo_endpoint) = (new_slot()?, new_slot()?, new_slot()?);
        sys::create_endpoint(account, fault_endpoint).map_err(at("fault endpoint"))?;
        sys::create_port(account, fault_port, fault_endpoint, 0).map_err(at("fault port"))?;
        sys::create_endpoint(account, echo_endpoint).map_err(at("echo endpoint"))?;
        let echo = Child::create(image, account, ECHO, ECHO_SHARE)?;
        echo.give(1, echo_endpoint, Rights::RECEIVE)?;
        echo.show(second, RW)?;
        echo.start(second_at, fault_port)?;
        let victim = Child::create(image, account, VICTIM, VICTIM_SHARE)?;
        victim.show(second, RW)?;
        victim.start(second_at, fault_port)?;
        Ok(Self {
            page,
            image,
            account,
            source: Source::new(page, account, echo_endpoint)?,
            // SAFETY: the two pages were just made for this and stay mapped here until `leave`.
            board: unsafe { board_at(first_at) },
            // SAFETY: as above.
            victim_board: unsafe { board_at(second_at) },
            data,
            boards: [first, second],
            fault_endpoint,
            fault_port,
            echo,
            echo_endpoint,
            victim,
            filler: None,
            buffer: Buffer::new(),
            tally: Tally::default(),
        })
    }

    /// Serial number of the victim.
    pub fn victim_serial(&self) -> u64 {
        self.victim.serial()
    }

    /// A region of one page that holds this code, sealed: its slot and address.
    pub fn code(&self, code: &[u8]) -> Result<(Handle, u64), LoadError> {
        let (slot, address) = page_of(self.account)?;
        // SAFETY: the page was just made and mapped here alone; no code here is nearly as long.
        unsafe { core::slice::from_raw_parts_mut(address as *mut u8, code.len()) }.copy_from_slice(code);
        sys::region_unmap(SELF, slot).map_err(at("unmap the code"))?;
        sys::region_seal(slot, &SealSpec { read_only: 0, execute: 1, guard: 0 }).map_err(at("seal"))?;
        Ok((slot, address))
    }

    /// A sandbox under trial with what this run gives it; it does not run yet.
    pub fn prepare(&self, run: &Run<'_>, props: &mut Props) -> Result<Child, LoadError> {
        let child = Child::create(self.image, self.account, TRIAL, UNDER_TRIAL)?;
        for gift in run.gifts {
            child.give(gift.slot, props.get(gift.kind)?, gift.rights)?;
        }
        for gift in run.gifts.iter().filter(|gift| gift.stale) {
            props.replace(gift.kind)?;
        }
        for &(region, rights) in [(self.boards[0], RW)].iter().chain(run.shown) {
            child.show(region, rights)?;
        }
        Ok(child)
    }

    /// Starts it.
    pub fn start(&self, child: &Child, run: &Run<'_>) -> Result<(), LoadError> {
        self.board.order(run.task, run.index, run.granted, run.args);
        child.start(core::ptr::from_ref(self.board) as u64, self.fault_port)
    }

    /// Lets somebody take what nobody wants, or ends that.
    pub fn set_filler(&mut self, wanted: bool) -> Result<(), LoadError> {
        if let Some(filler) = self.filler.take() {
            filler.destroy()?;
        }
        if wanted {
            let filler = Child::create(self.image, self.account, FILLER, FILLER_SHARE)?;
            self.start_beside(&filler)?;
            self.filler = Some(filler);
        }
        Ok(())
    }

    /// Starts one beside it, which needs no board.
    pub fn start_beside(&self, child: &Child) -> Result<(), LoadError> {
        child.start(0, self.fault_port)
    }

    /// Starts a bare thread in a child and waits for its end.
    pub fn run_thread(&mut self, child: &Child, spec: &ThreadSpec) -> Result<End, LoadError> {
        sys::sandbox_fault_port(child.sandbox(), self.fault_port).map_err(at("fault port"))?;
        sys::thread_start(self.account, child.sandbox(), 0, spec).map_err(at("thread"))?;
        self.await_end(child, PATIENCE)
    }

    /// Waits for the end of a child; one that goes on is frozen.
    pub fn await_end(&mut self, child: &Child, patience: u64) -> Result<End, LoadError> {
        let deadline = sys::now() + patience;
        let mut stalled = false;
        loop {
            let until = if stalled { hic_abi::FOREVER } else { deadline };
            match ipc::receive(self.fault_endpoint, &mut self.buffer, until) {
                Ok(Received::Fault { sandbox, words, .. }) if sandbox == child.serial() => {
                    return Ok(if stalled { End::Stalled } else { End::from_words(words) });
                }
                Ok(Received::Fault { sandbox, words, .. }) => {
                    self.fail(&"a bystander", &format_args!("sandbox {sandbox} died: {words:x?}"));
                }
                Err(Error::Timeout) if !stalled => {
                    stalled = true;
                    sys::sandbox_freeze(child.sandbox(), 1).map_err(at("freeze"))?;
                }
                Ok(_) => {}
                Err(error) => return Err(at("wait for an end")(error)),
            }
        }
    }

    /// One run, from nothing to nothing.
    pub fn run(&mut self, run: &Run<'_>) -> Result<End, LoadError> {
        let mut props = Props::new(self.source);
        let child = self.prepare(run, &mut props)?;
        self.start(&child, run)?;
        let end = self.await_end(&child, PATIENCE)?;
        child.destroy()?;
        props.strike()?;
        Ok(end)
    }

    /// An attempt: it must end as it says.
    pub fn attempt(&mut self, name: &dyn Display, run: &Run<'_>) -> Result<(), LoadError> {
        let end = self.run(run)?;
        self.attempted(name, run.expect, end);
        Ok(())
    }

    /// Counts an attempt that ended so.
    pub fn attempted(&mut self, name: &dyn Display, expect: Expect, end: End) {
        self.tally.attempts += 1;
        if !expect.is_met(end) {
            self.fail(name, &format_args!("{end}; {expect}"));
        } else if matches!(end, End::Exception { .. }) {
            self.tally.deaths += 1;
        }
    }

    /// A control: it must end as it says, too.
    pub fn control(&mut self, name: &dyn Display, run: &Run<'_>) -> Result<(), LoadError> {
        let end = self.run(run)?;
        self.controlled(name, run.expect.is_met(end), &end);
        Ok(())
    }

    /// Counts a control.
    pub fn controlled(&mut self, name: &dyn Display, good: bool, end: &dyn Display) {
        self.tally.controls += 1;
        if !good {
            self.fail(name, &format_args!("the control failed: {end}"));
        }
    }

    /// Something did not end as it must.
    pub fn fail(&mut self, name: &dyn Display, why: &dyn Display) {
        self.tally.failures += 1;
        log!("not refused: {name}: {why}");
    }

    /// Ends everybody.
    pub fn leave(mut self) -> Result<(), LoadError> {
        self.set_filler(false)?;
        for child in [self.victim, self.echo] {
            child.destroy()?;
        }
        let mut slots = Vec::from([self.fault_port, self.fault_endpoint, self.echo_endpoint, self.data.0]);
        slots.extend(self.boards);
        slots.into_iter().for_each(cap::drop_slot);
        Ok(())
    }
}
