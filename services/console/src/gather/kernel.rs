//! What the kernel lets the holder of the right to inspect look at.

use super::Sources;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use console::error::CommandError;
use console::report::MAX_ROWS;
use console::report::objects::{Capability, Caps, Port, Ports, rights};
use console::report::system::{Account, Memory, SLOTS_PER_FRAME, Status, Uptime};
use hic_abi::inspect::{AccountInfo, CapInfo, MemoryInfo, PortInfo, SandboxInfo, SystemInfo, What};
use hic_abi::{Error, ObjectType, PAGE_SIZE, Plain, name_str};
use hic_control::monitor::{Health, STATUS};
use hic_rt::{clock, sys};

/// Looks at memory, at most: others may allocate while the console counts.
const LOOKS: usize = 16;

impl Sources {
    pub(super) fn look<T: Plain>(&self, what: What, index: u64) -> Result<T, CommandError> {
        sys::inspect(self.audit, what, index).map_err(|error| CommandError::call("the kernel", error))
    }

    /// All records of a kind with their index, free ones included.
    pub(super) fn look_at_all<T: Plain>(&self, what: What) -> impl Iterator<Item = (u64, T)> {
        let audit = self.audit;
        (0..).map_while(move |index| Some((index, sys::inspect(audit, what, index).ok()?)))
    }

    /// `status`
    pub fn status(&mut self, version: &str) -> Result<Status, CommandError> {
        let health: Health = self.the_record("monitor", STATUS)?;
        let memory: MemoryInfo = self.look(What::Memory, 0)?;
        let system: SystemInfo = self.look(What::System, 0)?;
        let now = clock::now();
        Ok(Status {
            version: version.into(),
            uptime_seconds: now / 1_000_000_000,
            services: health.services,
            healthy: health.healthy,
            faults: health.faults,
            restarts: health.restarts,
            missed_answers: health.missed,
            frames: memory.total,
            free_frames: memory.free,
            dirty_frames: memory.dirty,
            sandboxes: system.sandboxes,
            threads: system.threads,
            ports: system.ports,
            endpoints: system.endpoints,
            regions: system.regions,
            capabilities: system.capabilities,
            system_calls: system.system_calls,
            interrupts: system.interrupts,
            thread_switches: system.switches,
            idle_percent: (system.idle_nanos / (now / 100).max(1)).min(100),
            audit_records: system.audit_records,
            audit_dropped: system.audit_dropped,
            dma_confined: system.dma_confined != 0,
            dma_refused: system.dma_refused,
            interrupts_remapped: system.interrupts_remapped != 0,
        })
    }

    /// `uptime`
    pub fn uptime(&self) -> Uptime {
        let nanoseconds = clock::now();
        Uptime { seconds: nanoseconds / 1_000_000_000, nanoseconds, unix_seconds: clock::wall_seconds() }
    }

    /// `memory`: counted again while it changes under the count.
    pub fn memory(&self) -> Result<Memory, CommandError> {
        let mut memory = self.count_memory()?;
        for _ in 1..LOOKS {
            if memory.adds_up {
                break;
            }
            memory = self.count_memory()?;
        }
        Ok(memory)
    }

    fn count_memory(&self) -> Result<Memory, CommandError> {
        let info: MemoryInfo = self.look(What::Memory, 0)?;
        let accounts = self.look_at_all::<AccountInfo>(What::Account).filter(|(_, a)| a.generation != 0);
        let accounts = accounts.map(|(_, a)| Account {
            name: name_str(&a.name).into(),
            frames: a.frames_used,
            page_tables: a.page_tables,
            frames_limit: a.frames_limit,
            objects: a.objects_used,
            objects_limit: a.objects_limit,
        });
        let sandboxes = self.look_at_all::<SandboxInfo>(What::Sandbox).filter(|(_, s)| s.serial != 0);
        let spaces = sandboxes.map(|(_, s)| s.slots / SLOTS_PER_FRAME);
        let memory = Memory {
            frame_bytes: PAGE_SIZE,
            total: info.total,
            kernel: info.kernel,
            capability_spaces: spaces.sum(),
            free: info.free,
            charged: info.charged,
            accounts: accounts.collect(),
            adds_up: false,
        };
        Ok(memory.checked())
    }

    /// `ports`
    pub fn ports(&self) -> Result<Ports, CommandError> {
        let accounts: Vec<String> =
            self.look_at_all::<AccountInfo>(What::Account).map(|(_, a)| name_str(&a.name).into()).collect();
        let mut ports = Ports::default();
        for (index, p) in self.look_at_all::<PortInfo>(What::Port).filter(|(_, p)| p.generation != 0) {
            if ports.ports.len() == MAX_ROWS {
                ports.truncated = true;
                break;
            }
            let account = usize::try_from(p.account).ok().and_then(|i| accounts.get(i));
            ports.ports.push(Port {
                index,
                account: account.cloned().unwrap_or_default(),
                badge: p.badge,
                endpoint: p.endpoint,
                queued: p.queued,
                senders: p.senders,
                switches: p.switches,
            });
        }
        Ok(ports)
    }

    /// `caps <sandbox>`: the name is that of a sandbox, or of a service, whose sandbox may have another name since an update.
    pub fn caps(&mut self, name: &str) -> Result<Caps, CommandError> {
        let named = |s: &SandboxInfo| s.serial != 0 && name_str(&s.name) == name;
        let mut found = self.look_at_all::<SandboxInfo>(What::Sandbox).find(|(_, s)| named(s));
        if found.is_none()
            && let Some(serial) = self.sandbox_of(name)
        {
            found = self.look_at_all::<SandboxInfo>(What::Sandbox).find(|(_, s)| s.serial == serial);
        }
        let (index, sandbox) = found.ok_or_else(|| self.no_sandbox(name))?;
        // Without the module manager there is nobody to say.
        let denied = self.denied(sandbox.serial).unwrap_or_default();
        let mut caps = Caps {
            sandbox: name.into(),
            serial: sandbox.serial,
            frozen: sandbox.frozen != 0,
            slots: sandbox.slots,
            denied,
            ..Caps::default()
        };
        for slot in 0..sandbox.slots {
            let cap: CapInfo = match sys::inspect(self.audit, What::Capability, index << 32 | slot) {
                Ok(cap) => cap,
                // The sandbox went away meanwhile.
                Err(Error::InvalidHandle) => break,
                Err(error) => return Err(CommandError::call("the kernel", error)),
            };
            let Some(kind) = ObjectType::from_number(cap.object_type) else { continue };
            if caps.capabilities.len() == MAX_ROWS {
                caps.truncated = true;
                break;
            }
            let (kind, rights) = (kind.name(), rights(cap.rights));
            caps.capabilities.push(Capability {
                slot,
                kind,
                object: cap.object,
                rights,
                children: cap.children,
            });
        }
        Ok(caps)
    }

    fn no_sandbox(&self, name: &str) -> CommandError {
        let names: Vec<String> = self.sandbox_names().into_iter().map(|(_, name)| name).collect();
        let name = console::report::clean(name);
        CommandError::new(
            "not-found",
            format!("there is no sandbox `{name}`; there are: {}", names.join(", ")),
        )
    }

    /// Serial numbers and names of all sandboxes.
    pub(super) fn sandbox_names(&self) -> Vec<(u64, String)> {
        self.look_at_all::<SandboxInfo>(What::Sandbox)
            .filter(|(_, s)| s.serial != 0)
            .map(|(_, s)| (s.serial, name_str(&s.name).to_string()))
            .collect()
    }
}
