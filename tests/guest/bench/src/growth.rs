//! The same operations with few objects alive and with very many: what an operation costs must not depend on it.

use crate::meter::nothing;
use crate::suite::Stage;
use alloc::vec::Vec;
use hic_abi::object::SandboxSpec;
use hic_abi::{Handle, PAGE_SIZE, Rights, SELF, name_bytes};
use hic_rt::loader::{LoadError, at, new_slot};
use hic_rt::{cap, sys};

/// Sandboxes that are added to the crowd's hundred.
const SANDBOXES: usize = 900;
/// Ports that are added to the crowd's ten thousand; each is a capability, too.
const PORTS: u32 = 90_000;
/// Slots of a space that keeps capabilities out of the way.
const STORE_SLOTS: u32 = 65_536;

/// Figures of one population.
struct Names {
    copy: &'static str,
    switch: &'static str,
    region: &'static str,
    sandbox: &'static str,
}

/// Measures with the crowd, then with 1,000 sandboxes, 100,000 ports and more than 100,000 capabilities; the threads are the ten thousand callers.
pub fn run(stage: &Stage) -> Result<(), LoadError> {
    measure(
        stage,
        &Names {
            copy: "cap_copy_small",
            switch: "port_switch_small",
            region: "region_create_destroy_small",
            sandbox: "sandbox_create_destroy_small",
        },
    )?;
    grow(stage)?;
    measure(
        stage,
        &Names {
            copy: "cap_copy_grown",
            switch: "port_switch_grown",
            region: "region_create_destroy_grown",
            sandbox: "sandbox_create_destroy_grown",
        },
    )
}

fn spec(slots: u32) -> SandboxSpec {
    SandboxSpec {
        slots: slots.into(),
        priority: crate::director::PRIORITY,
        budget: 0,
        period: 0,
        hard_limit: 0,
        name: name_bytes("grown"),
        purpose: name_bytes("bench"),
    }
}

fn grow(stage: &Stage) -> Result<(), LoadError> {
    for _ in 0..SANDBOXES {
        sys::create_sandbox(stage.account, new_slot()?, &spec(64)).map_err(at("sandbox"))?;
    }
    let stores = [new_slot()?, new_slot()?];
    for store in stores {
        sys::create_sandbox(stage.account, store, &spec(STORE_SLOTS)).map_err(at("store"))?;
    }
    let (endpoint, port) = (stage.endpoint()?, new_slot()?);
    for number in 0..PORTS {
        sys::create_port(stage.account, port, endpoint, number.into()).map_err(at("port"))?;
        let to = (stores[(number % 2) as usize], 1 + number / 2);
        sys::cap_move(to, (SELF, port)).map_err(at("store the port"))?;
    }
    cap::release(port);
    Ok(())
}

fn measure(stage: &Stage, names: &Names) -> Result<(), LoadError> {
    let (account, meter) = (stage.account, &stage.meter);
    let slots = (0..4).map(|_| new_slot()).collect::<Result<Vec<Handle>, _>>()?;
    let [object, copy, port, made] = slots[..] else { return Ok(()) };
    sys::create_notification(account, object).map_err(at("notification"))?;
    let empty = || {
        let _ = sys::cap_delete(SELF, copy);
        Ok(())
    };
    meter.measure(names.copy, empty, || sys::cap_copy((SELF, copy), (SELF, object), Rights::all()))?;
    let targets = [stage.endpoint()?, stage.endpoint()?];
    sys::create_port(account, port, targets[0], 0).map_err(at("port"))?;
    let mut turn = targets.into_iter().cycle();
    meter.measure(names.switch, nothing, || turn.next().map_or(Ok(()), |to| sys::port_switch(port, to)))?;
    meter.measure(names.region, nothing, || {
        sys::create_region(account, made, PAGE_SIZE)?;
        sys::destroy(SELF, made)
    })?;
    let spec = spec(64);
    meter.measure(names.sandbox, nothing, || {
        sys::create_sandbox(account, made, &spec)?;
        sys::destroy(SELF, made)
    })?;
    Ok(())
}
