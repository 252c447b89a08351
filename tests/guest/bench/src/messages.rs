//! Calls, signals and turns between two sandboxes.

use crate::meter::nothing;
use crate::partners::{ECHO, SIGNALLER, YIELDER};
use crate::suite::Stage;
use hic_abi::{FOREVER, Handle, ObjectType, Rights, SELF};
use hic_rt::ipc::{self, Message};
use hic_rt::loader::{LoadError, at, new_slot};
use hic_rt::{cap, sys};
use hic_stage::Actor;

/// Measures all of them; each partner is destroyed before the next is made, so that only two sandboxes run.
pub fn run(stage: &Stage) -> Result<(), LoadError> {
    calls(stage)?;
    signals(stage)?;
    turns(stage)
}

fn call(port: Handle, words: [u64; 4]) -> Result<(), hic_abi::Error> {
    ipc::call_words(port, Message::new(1, words), FOREVER).map(|_| ())
}

fn calls(stage: &Stage) -> Result<(), LoadError> {
    let (endpoint, port) = (stage.endpoint()?, new_slot()?);
    sys::create_port(stage.account, port, endpoint, 1).map_err(at("port"))?;
    let mut echo = Actor::create(stage.image, &stage.partner(ECHO))?;
    echo.grant("endpoint:echo", endpoint, ObjectType::Endpoint, Rights::RECEIVE, (0, 0))?;
    echo.start()?;
    // From the second call on the partner waits in its receive when the call comes.
    call(port, [0; 4]).map_err(at("first call"))?;
    stage.meter.measure("ipc_call_reply_0w", nothing, || call(port, [0; 4]))?;
    stage.meter.measure("ipc_call_reply_4w", nothing, || call(port, [1, 2, 3, 4]))?;
    // Something ended in between, so both sides look their handles up again.
    let spare = new_slot()?;
    let end_something = || {
        sys::cap_copy((SELF, spare), (SELF, port), Rights::SEND)?;
        sys::cap_delete(SELF, spare)
    };
    stage.meter.measure("ipc_call_reply_looked_up", end_something, || call(port, [0; 4]))?;
    cap::release(spare);
    echo.destroy()?;
    cap::drop_slot(port);
    cap::drop_slot(endpoint);
    Ok(())
}

/// Two signals and two waits: there and back.
fn signals(stage: &Stage) -> Result<(), LoadError> {
    let (ask, answer) = (stage.notification()?, stage.notification()?);
    let mut partner = Actor::create(stage.image, &stage.partner(SIGNALLER))?;
    partner.grant("ask", ask, ObjectType::Notification, Rights::RECEIVE, (0, 0))?;
    partner.grant("answer", answer, ObjectType::Notification, Rights::SEND, (0, 0))?;
    partner.start()?;
    let there_and_back = || {
        sys::signal(ask, 1)?;
        sys::wait(answer, FOREVER).map(|_| ())
    };
    there_and_back().map_err(at("first signal"))?;
    stage.meter.measure("notify_wait_rtt", nothing, there_and_back)?;
    partner.destroy()?;
    cap::drop_slot(ask);
    cap::drop_slot(answer);
    Ok(())
}

fn turns(stage: &Stage) -> Result<(), LoadError> {
    let partner = Actor::create(stage.image, &stage.partner(YIELDER))?;
    partner.start()?;
    sys::yield_now();
    stage.meter.measure("yield_rtt", nothing, || {
        sys::yield_now();
        Ok(())
    })?;
    partner.destroy()
}
