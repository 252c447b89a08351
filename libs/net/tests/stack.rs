//! The engine as its users see it: two stacks back to back, a wire with faults, a shell that checks and dies.

mod sim;

#[path = "stack/address.rs"]
mod address;
#[path = "stack/echo.rs"]
mod echo;
#[path = "stack/hostile.rs"]
mod hostile;
#[path = "stack/moving.rs"]
mod moving;
#[path = "stack/packets.rs"]
mod packets;
#[path = "stack/role.rs"]
mod role;
