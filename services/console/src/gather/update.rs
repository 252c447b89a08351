//! Modules, and the updates that the module manager carries out.

use super::services::MANAGER;
use super::tasks::Followed;
use super::{END, Repeat, Sources};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use console::command::PolicyOptions;
use console::error::CommandError;
use console::report::follow::Follow;
use console::report::modules::{Fact, Modules, Versions};
use console::report::update::{Started, Update};
use console::report::{MAX_ROWS, clean};
use hic_control::Refusal;
use hic_control::manager::{
    ABORT, COMMIT, DENIED, MODULE_LINE, MODULES, ModuleInfo, ROLLBACK, SCAN, UPDATE, UPDATE_LINE,
    UPDATE_STATUS, UpdateInfo,
};
use hic_rt::ipc::Message;

/// An update that was begun.
pub enum Begun {
    /// One rolling update.
    Moving(Follow, Started),
    /// A plan, of one step or several.
    Planned(Followed),
}

/// What a look at a followed update brought.
pub struct Look {
    /// New lines of its report, printable.
    pub text: String,
    /// What to say at the end; `None` while there is something to wait for.
    pub end: Option<Result<String, CommandError>>,
}

impl Sources {
    /// `modules`: what is known, while the repository is looked through again.
    pub fn modules(&mut self) -> Result<Modules, CommandError> {
        let scan = self.ask(MANAGER, Message::new(SCAN, [0; 4]), Repeat::Always)?;
        let unread = self.check(MANAGER, "to read the repository", &scan).err();
        let reading = unread.is_none() && scan.words[0] == 1;
        let mut modules = Modules { reading, unread, ..Modules::default() };
        for index in 0..MAX_ROWS as u64 {
            let Some((info, _)) = self.record::<ModuleInfo>(MANAGER, (MODULES, index), END)? else { break };
            modules.add(&info);
        }
        Ok(modules)
    }

    /// `modules <name> [version]`
    pub fn versions(&mut self, name: &str, version: Option<&str>) -> Result<Versions, CommandError> {
        let mut found = Versions::of(self.modules()?, name, version);
        for module in &mut found.modules {
            let what = format!("{} {}", module.name, module.version);
            module.facts = self
                .texts(MANAGER, (MODULE_LINE, 0), (0, &what))?
                .iter()
                .map(|line| Fact::of(line))
                .collect();
        }
        if found.modules.is_empty() {
            let version = version.map_or_else(String::new, |version| format!(" {version}"));
            let wanted = clean(&format!("{name}{version}"));
            let message = format!("there is no module {wanted}; `modules` lists them");
            return Err(CommandError::new("unknown-module", message));
        }
        Ok(found)
    }

    /// What the service in a sandbox asked for and was denied.
    pub fn denied(&mut self, sandbox: u64) -> Result<Vec<String>, CommandError> {
        self.texts(MANAGER, (DENIED, 0), (sandbox, ""))
    }

    /// `update <service> <version>`
    pub fn update(
        &mut self,
        service: &str,
        version: &str,
        policy: PolicyOptions,
    ) -> Result<Begun, CommandError> {
        let window = policy.watch.map_or(0, |seconds| seconds.saturating_add(1));
        let words = [window, policy.share.unwrap_or(0)];
        let task = self.request(MANAGER, (UPDATE, words), &format!("{service} {version}"), "update")?;
        Ok(match task {
            0 => Begun::Moving(Follow::default(), Started::new("update")),
            number => Begun::Planned(Followed::new("update", number)),
        })
    }

    /// `rollback <service>`
    pub fn rollback(&mut self, service: &str) -> Result<Begun, CommandError> {
        let before = self.last_update()?;
        match self.request(MANAGER, (ROLLBACK, [0; 2]), service, "rollback")? {
            0 => {
                let now = self.update_info()?.ok_or_else(no_update)?;
                Ok(Begun::Moving(Follow::rollback(before.as_ref(), &now), Started::new("rollback")))
            }
            number => Ok(Begun::Planned(Followed::new("rollback", number))),
        }
    }

    /// `abort`
    pub fn abort(&mut self) -> Result<Started, CommandError> {
        self.order((ABORT, [0; 2]), "", "abort")
    }

    /// `commit`
    pub fn commit(&mut self) -> Result<Started, CommandError> {
        self.order((COMMIT, [0; 2]), "", "commit")
    }

    /// `update status`
    pub fn update_status(&mut self) -> Result<Update, CommandError> {
        let mut update = self.last_update()?.ok_or_else(no_update)?;
        update.lines.retain(|line| !line.is_empty());
        Ok(update)
    }

    /// What is new about a followed update. The state is asked for before the lines, so that at the end none is missed.
    pub fn look_at_update(&mut self, follow: &mut Follow) -> Result<Look, CommandError> {
        let update = self.update_info()?.ok_or_else(no_update)?;
        let mut text = String::new();
        for line in self.update_lines(follow.line)? {
            follow.line += 1;
            if line.is_empty() {
                continue;
            }
            text.push_str(&clean(&line));
            text.push('\n');
        }
        Ok(Look { text, end: follow.end(&update) })
    }

    fn order(
        &mut self,
        request: (u32, [u64; 2]),
        name: &str,
        what: &'static str,
    ) -> Result<Started, CommandError> {
        self.request(MANAGER, request, name, what).map(|_| Started::new(what))
    }

    /// The update under way or the last one, with its report.
    fn last_update(&mut self) -> Result<Option<Update>, CommandError> {
        let Some(mut update) = self.update_info()? else { return Ok(None) };
        update.lines = self.update_lines(0)?;
        Ok(Some(update))
    }

    fn update_info(&mut self) -> Result<Option<Update>, CommandError> {
        let info = self.record::<UpdateInfo>(MANAGER, (UPDATE_STATUS, 0), END)?;
        Ok(info.map(|(info, _)| Update::from(&info)))
    }

    /// The lines of the report from a number on. Lines are only ever added to it; empty ones stand for what was told before the module manager was started
    /// again.
    fn update_lines(&mut self, from: u64) -> Result<Vec<String>, CommandError> {
        self.texts(MANAGER, (UPDATE_LINE, from), (0, ""))
    }
}

fn no_update() -> CommandError {
    let message = "there was no update since the system started; `update <service> <version>` begins one";
    CommandError::new(Refusal::NotFound.code(), message)
}
