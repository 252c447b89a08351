//! The engine against a model of the world: the straight path and each way off it, then every crash at every point.

mod back;
mod crashes;
mod faulty;
mod gentle;
mod model;
mod refusals;
mod rests;
mod script;
mod shares;
mod straight;
mod words;
mod world;
