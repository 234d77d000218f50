//! Two endpoints in one process, on loopback: what TCP connections through a tunnel must see.

mod bounds;
mod conn;
mod either;
mod faults;
mod offered;
mod peers;
mod rig;
mod strangers;
mod tcp;
