//! All stacks by their numbers, and which of them is the default one.

use crate::stack::Stack;
use crate::state::PLACES;
use core::ptr::NonNull;
use hic_nic::region::MAX_RX_FRAME;
use hic_nic::steer;

/// The stacks. One that is leaving has a number, but is not attached: nothing is delivered to it.
pub struct Stacks {
    places: [Option<Stack>; PLACES],
    /// Sandbox of the default stack, in the state region.
    default: &'static mut u64,
}

impl Stacks {
    /// None yet.
    pub fn new(default: &'static mut u64) -> Self {
        Self { places: [const { None }; PLACES], default }
    }

    /// The stack of this number, leaving or not.
    pub fn get(&self, number: usize) -> Option<&Stack> {
        self.places.get(number)?.as_ref()
    }

    /// As [`Self::get`].
    pub fn get_mut(&mut self, number: usize) -> Option<&mut Stack> {
        self.places.get_mut(number)?.as_mut()
    }

    /// Puts a stack into an empty place.
    pub fn put(&mut self, number: usize, stack: Stack) {
        if let Some(place) = self.places.get_mut(number) {
            *place = Some(stack);
        }
    }

    /// Takes a stack out.
    pub fn remove(&mut self, number: usize) -> Option<Stack> {
        self.places.get_mut(number)?.take()
    }

    /// A number that no stack has.
    pub fn free_place(&self) -> Option<usize> {
        self.places.iter().position(Option::is_none)
    }

    /// All stacks with their numbers.
    pub fn all(&self) -> impl Iterator<Item = (usize, &Stack)> {
        self.places.iter().enumerate().filter_map(|(number, stack)| Some((number, stack.as_ref()?)))
    }

    /// As [`Self::all`].
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Stack> {
        self.places.iter_mut().flatten()
    }

    /// Attached stacks with their numbers.
    pub fn attached(&self) -> impl Iterator<Item = (usize, &Stack)> {
        self.all().filter(|(_, stack)| stack.leaving.is_none())
    }

    /// Numbers of stacks that are leaving.
    pub fn leaving(&self) -> [bool; PLACES] {
        core::array::from_fn(|number| self.get(number).is_some_and(|stack| stack.leaving.is_some()))
    }

    /// The attached stack of a sandbox.
    pub fn find(&self, serial: u64) -> Option<usize> {
        self.attached().find(|(_, stack)| stack.serial == serial).map(|(number, _)| number)
    }

    /// The stack that gets what no flow entry names, and whose buffers the card fills first: the one that asked for it, else the one
    /// that attached first.
    pub fn default_number(&self) -> Option<usize> {
        let first = || self.attached().min_by_key(|(_, stack)| stack.order).map(|(number, _)| number);
        self.find(*self.default).or_else(first)
    }

    /// Makes the stack of a sandbox the default one.
    pub fn set_default(&mut self, serial: u64) {
        *self.default = serial;
    }

    /// How far the frames of a sandbox's stack were given to the card; `None` if it has none left to give.
    pub fn tx_progress(&self, serial: u64) -> Option<u64> {
        let busy = self.all().find(|(_, stack)| stack.serial == serial && stack.has_to_send());
        busy.map(|(_, stack)| stack.side.tx_taken())
    }
}

impl steer::Stacks for Stacks {
    fn default_stack(&self) -> Option<u32> {
        self.default_number().map(|number| number as u32)
    }

    fn is_attached(&self, stack: u32) -> bool {
        self.get(stack as usize).is_some_and(|stack| stack.leaving.is_none())
    }

    fn room(&self, stack: u32) -> Option<u64> {
        let side = &self.get(stack as usize)?.side;
        (side.free_buffers() > 0).then(|| side.rx_index())
    }

    fn deliver(&mut self, stack: u32, checksum_valid: bool, bytes: &[u8]) {
        if let Some(stack) = self.get_mut(stack as usize) {
            stack.side.deliver_copy(checksum_valid, |to| copy(NonNull::from(bytes).cast(), bytes.len(), to));
        }
    }
}

/// Copies octets that somebody else may be changing, as many as fit; how many.
pub fn copy(from: NonNull<u8>, len: usize, to: &mut [u8]) -> usize {
    let len = len.min(to.len()).min(MAX_RX_FRAME);
    // SAFETY: callers pass a frame or a part of one that was checked to lie inside a mapped region, and a buffer of their own or of
    // another place in a region, so the two do not overlap.
    unsafe { from.as_ptr().copy_to_nonoverlapping(to.as_mut_ptr(), len) };
    len
}
