//! What becomes of a batch. The token says whose it is; everything here may be done again after a death in the middle of it.

use crate::service::Netstack;
use crate::shell::Recorded;
use alloc::vec::Vec;
use hic_migrate::Refusal;
use hic_net::{Micros, RestoreError, Socket};
use hic_rt::{clock, log};
use netstack::records::{Batch, Phase, Places, Truth};

impl Netstack {
    /// See `Migration::complete_migration`.
    pub(super) fn complete(&mut self, number: u64) -> Result<(), Refusal> {
        let journal = self.moves.journal;
        match journal.batch.truth(self.moves.has_token()) {
            Truth::Theirs if journal.batch.number == number => {
                self.give_away();
                Ok(())
            }
            Truth::Ours if journal.batch.number == number => Err(Refusal::WrongBatch { current: number }),
            _ if journal.given == number => Ok(()),
            _ => Err(Refusal::WrongBatch { current: 0 }),
        }
    }

    /// See `Migration::abort_migration`.
    pub(super) fn take_back(&mut self, number: u64) -> Result<(), Refusal> {
        let batch = self.moves.journal.batch;
        if batch.number != number {
            return Err(Refusal::WrongBatch { current: 0 });
        }
        match batch.truth(self.moves.has_token()) {
            Truth::Ours | Truth::Expected => {
                self.settle();
                Ok(())
            }
            Truth::Theirs | Truth::Arrived => Err(Refusal::WrongBatch { current: number }),
            Truth::Nothing => Err(Refusal::WrongBatch { current: 0 }),
        }
    }

    /// Ends the batch under way, if there is one, as the token says.
    pub(super) fn settle(&mut self) {
        match self.moves.journal.batch.truth(self.moves.has_token()) {
            Truth::Nothing => {}
            Truth::Ours => self.thaw(),
            Truth::Theirs => self.give_away(),
            Truth::Expected => self.expect_no_more(),
            Truth::Arrived => {
                if let Err(refusal) = self.serve_batch() {
                    log!("batch {}: {refusal}", self.moves.journal.batch.number);
                }
            }
        }
    }

    /// At a start, before anything is served: what moved while we were dead is not ours. Returns what is not to be served now.
    pub(crate) fn settle_first(&mut self) -> Batch {
        let batch = self.moves.journal.batch;
        match batch.truth(self.moves.has_token()) {
            Truth::Theirs => {
                self.give_away();
                Batch { places: Places::default(), ..batch }
            }
            _ => batch,
        }
    }

    /// At a start, when everything else is served: the rest about the batch that [`Netstack::settle_first`] found.
    pub(crate) fn settle_last(&mut self, batch: &Batch) {
        if batch.role && batch.phase == Phase::Leaving {
            // On its way out, or gone: the start before had let it go, or was about to.
            self.stack.release_role(&mut self.shell);
        }
        if self.moves.journal.batch.truth(self.moves.has_token()) == Truth::Arrived {
            self.settle();
        }
    }

    /// The batch stays with us.
    pub(super) fn thaw(&mut self) {
        let batch = self.moves.journal.batch;
        let Recorded { records, flows, .. } = self.shell.resume(batch.places.iter(), Vec::new());
        if let Err(code) = self.shell.wire.take_flows(&flows, 0) {
            // The holds end by themselves.
            log!("eth_driver does not release the flows (code {code})");
        }
        let now = Micros(clock::now_micros());
        let all = batch.places.iter().filter_map(|place| self.shell.records.socket(place));
        let frozen: Vec<Socket> = all.filter(|socket| self.stack.is_frozen(*socket)).collect();
        if frozen.is_empty() {
            // Frozen by a start before this one.
            let errors = self.stack.adopt(now, records, &mut self.shell);
            self.lose(errors);
        } else {
            self.stack.thaw(now, &frozen, &mut self.shell);
        }
        if batch.role {
            let record = *self.stack.interface_record();
            self.stack.take_role(now, &record, &mut self.shell);
        }
        self.no_batch();
        self.context(now).judge_unheld();
    }

    /// The batch is the peer's.
    fn give_away(&mut self) {
        let batch = self.moves.journal.batch;
        let sockets: Vec<Socket> =
            batch.places.iter().filter_map(|place| self.shell.records.socket(place)).collect();
        self.stack.forget(&sockets);
        batch.places.iter().for_each(|place| self.shell.let_go(place));
        // A start before the next question must know it, too.
        self.moves.journal.reserved.add(&batch.places);
        self.moves.journal.given = batch.number;
        self.no_batch();
    }

    /// The batch does not come.
    fn expect_no_more(&mut self) {
        self.moves.journal.batch.places.iter().for_each(|place| self.shell.let_go(place));
        self.moves.expected = (0, Vec::new());
        self.no_batch();
    }

    fn no_batch(&mut self) {
        self.moves.journal.batch = Batch::default();
        self.write_journal();
    }

    /// Ends sockets whose records contradict others.
    pub(crate) fn lose(&mut self, errors: Vec<RestoreError>) {
        for error in errors {
            log!("{error}; it ends");
            self.shell.lose(match error {
                RestoreError::Duplicate(socket) => socket,
                RestoreError::NoListener(id) => Socket::Connection(id),
            });
        }
    }
}
