//! A second Core-0, as plain as can be, and the same random steps for both.
//!
//! The model is written from the book and from `hic_abi`, shares no code with the kernel, and keeps nothing twice: where the kernel has counters and
//! links, the model looks through all objects. What the kernel may choose (where a region lies, which serial number a sandbox gets) the model takes
//! over from it and checks that it was free to choose so. After each step everything that can be asked is asked of both:
//!
//! | | compared after each step |
//! | --- | --- |
//! | a call | status and all registers that calls use, of every thread that is ready; state of every thread |
//! | capabilities | type, rights, object and number of children of each filled slot; empty slots every 32nd step |
//! | accounts, sandboxes, ports | all that `Inspect` tells of them but names and processor time |
//! | memory | which pages each sandbox can read, write and execute; bytes of buffers; all bytes of all regions every 32nd step |
//! | signals | bits of each notification |
//! | audit | every record: its number, the time, what, who did it, whom it concerns, numbers and text |
//! | devices | who uses the bus, which vectors lead where, what a device reaches, accesses to I/O ports |
//! | totals | objects of each type, frames charged and free |
//! | who runs | in every other run: which thread, at every moment, and what each sandbox used of the processor |
//!
//! Not modelled: the kernel's log, configuration space.
//!
//! [`state`] is what the model knows; [`caps`], [`memory`], [`messages`], [`signals`], [`lives`], [`devices`], [`turns`] and [`calls`] are what it does. [`lab`] drives both,
//! [`compare`] and [`records`] ask, [`generate`], [`arguments`] and [`plans`] think of steps, [`runs`] is the test, which prints the seed and the shortest list of steps that still
//! differs. To run millions: `cargo xtask soak model`.

mod arguments;
mod calls;
mod caps;
mod compare;
mod devices;
mod generate;
mod lab;
mod lives;
mod memory;
mod messages;
mod plans;
mod records;
mod runs;
mod signals;
mod state;
mod turns;
