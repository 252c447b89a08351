//! Both sides of a data region over ordinary memory, for tests.

use core::net::{Ipv4Addr, SocketAddrV4};
use hic_netapi::region::Status;
use hic_netapi::{AppSide, Layout, NetError, RegionKind, StackSide};
use std::alloc;
use std::vec::Vec;

pub struct Pair {
    pub app: AppSide,
    stack: StackSide,
    base: *mut u8,
    shape: alloc::Layout,
}

pub fn peer(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 2), port)
}

impl Pair {
    pub fn tcp(ring: u32) -> Self {
        let layout = Layout::new(RegionKind::Tcp, ring, ring).unwrap();
        let shape = alloc::Layout::from_size_align(layout.region_len(), 4096).unwrap();
        // SAFETY: a region's length is not zero.
        let base = unsafe { alloc::alloc_zeroed(shape) };
        // SAFETY: the memory lives until `Drop`, is reached by address only, and has one side of each kind.
        let (stack, app) = unsafe {
            let stack = StackSide::create(base, layout.region_len(), layout).unwrap();
            (stack, AppSide::attach(base, layout.region_len()).unwrap())
        };
        Self { app, stack, base, shape }
    }

    /// Bytes from the other end; all must fit.
    pub fn receive(&mut self, data: &[u8]) {
        assert_eq!(self.receive_some(data), data.len());
    }

    /// As many as fit.
    pub fn receive_some(&mut self, data: &[u8]) -> usize {
        self.stack.refresh().unwrap();
        let at = self.stack.indices().rx_written;
        let len = data.len().min((self.stack.rx_limit() - at) as usize);
        assert!(self.stack.write_rx(at, &data[..len]));
        self.stack.publish_rx(at + len as u64);
        len
    }

    pub fn establish(&mut self) {
        self.stack.publish_status(Status { established: true, ..Status::default() });
    }

    pub fn close_rx(&mut self) {
        self.stack.publish_status(Status { established: true, rx_closed: true, ..Status::default() });
    }

    /// Both ends closed, and everything was acknowledged.
    pub fn end(&mut self) {
        self.stack.publish_status(Status { established: true, rx_closed: true, over: true, error: None });
    }

    pub fn fail(&mut self, error: NetError) {
        // As the stack does: `established` stays once it was true.
        let Status { established, .. } = self.stack.status();
        self.stack.publish_status(Status {
            established,
            over: true,
            error: Some(error),
            ..Status::default()
        });
    }

    /// Whether the application ended its stream.
    pub fn tx_closed(&mut self) -> bool {
        self.stack.refresh().unwrap();
        self.stack.tx_closed()
    }

    /// Takes at most `max` bytes that the application wrote, as if the other end had acknowledged them.
    pub fn take_sent(&mut self, max: usize) -> Vec<u8> {
        self.stack.refresh().unwrap();
        let from = self.stack.indices().tx_acked;
        let len = max.min((self.stack.tx_written() - from) as usize);
        let mut out = std::vec![0; len];
        assert!(self.stack.copy_tx(from, &mut out));
        self.stack.publish_acked(from + len as u64);
        out
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this shape; both sides are dropped with `self` and have no destructor.
        unsafe { alloc::dealloc(self.base, self.shape) }
    }
}
