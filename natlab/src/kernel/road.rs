//! The link between the two halves of the internet.
//!
//! A direct link is a wire of the kernel. A user-space link is a TUN device in each half and one thread a
//! direction: it takes packets in as long as there are any, asks the direction's [`Way`] for the fate of each,
//! keeps them in a heap ordered by the time they come out, and sleeps until the next is due or the next comes
//! in. Buffers are reused. It is precise to the kernel's timer slack (50 µs) while the machine is not overloaded.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::process::setpriority_process;
use tun_rs::{DeviceBuilder, SyncDevice};

use super::LabError;
use super::namespace::Namespace;
use super::topology::LINK_INTERFACE;
use crate::chance::Chance;
use crate::link::{Fate, LinkSpec, Way, WayStats};
use crate::spec::Side;

/// Packets under way at once in one direction; what comes beyond is dropped and counted as a full queue.
const MAX_UNDER_WAY: usize = 65_536;

/// Packets taken in before those due are looked at again.
const BURST: usize = 64;

/// Packets that the kernel holds for us while our thread is not running: 50 ms at 100,000 a second.
const TX_QUEUE_PACKETS: u32 = 5_000;

/// Priority of the threads before those whose packets they carry, as hardware would have.
const NICENESS: i32 = -15;

/// The link of a running laboratory.
#[derive(Debug)]
pub struct Link {
    /// The ways from A and from B; `None` when the link is direct.
    ways: Option<[Arc<SharedWay>; 2]>,
    threads: Vec<JoinHandle<()>>,
}

impl Link {
    pub(super) fn direct() -> Link {
        Link { ways: None, threads: Vec::new() }
    }

    /// Makes the TUN devices in both halves of the internet and starts carrying packets.
    pub(super) fn user_space(halves: [&Namespace; 2], spec: LinkSpec, seed: u64) -> Result<Link, LabError> {
        let mut chance = Chance::new(seed);
        let devices = [make_device(halves[0], spec.mtu)?, make_device(halves[1], spec.mtu)?];
        let ways = [SharedWay::new(spec, chance.fork())?, SharedWay::new(spec, chance.fork())?];
        let mut link = Link { ways: Some(ways.clone()), threads: Vec::new() };
        for side in Side::BOTH {
            let (from, to) = (&devices[side.index()], &devices[side.other().index()]);
            let carrier = Carrier::new(from.clone(), to.clone(), ways[side.index()].clone());
            let thread = std::thread::Builder::new().name(format!("natlab link from {side:?}"));
            let thread = thread.spawn(move || carrier.run()).map_err(LabError::io("starting the link"))?;
            link.threads.push(thread);
        }
        Ok(link)
    }

    /// Changes the settings of both directions, for packets that come in from now on.
    ///
    /// # Errors
    /// [`LabError::DirectLink`] when the link is a wire of the kernel.
    pub fn set(&self, spec: LinkSpec) -> Result<(), LabError> {
        Side::BOTH.into_iter().try_for_each(|from| self.set_from(from, spec))
    }

    /// Changes the settings of the direction that leaves that side.
    ///
    /// # Errors
    /// [`LabError::DirectLink`] when the link is a wire of the kernel.
    pub fn set_from(&self, from: Side, spec: LinkSpec) -> Result<(), LabError> {
        let ways = self.ways.as_ref().ok_or(LabError::DirectLink)?;
        ways[from.index()].lock().set(spec);
        Ok(())
    }

    /// Returns the settings of the direction that leaves that side; a direct link is perfect.
    pub fn spec_from(&self, from: Side) -> LinkSpec {
        self.ways.as_ref().map_or_else(LinkSpec::default, |ways| ways[from.index()].lock().spec())
    }

    /// Returns what the direction that leaves that side did so far; a direct link counts nothing.
    pub fn stats_from(&self, from: Side) -> WayStats {
        self.ways.as_ref().map_or_else(WayStats::default, |ways| ways[from.index()].lock().stats())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for way in self.ways.iter().flatten() {
            way.stop();
        }
        for thread in self.threads.drain(..) {
            // A panic of the thread has already been printed; a drop must not add another.
            let _ended = thread.join();
        }
    }
}

/// A direction as its thread and the laboratory's user see it.
#[derive(Debug)]
struct SharedWay {
    way: Mutex<Way>,
    stopping: AtomicBool,
    /// Wakes the thread when it shall end.
    wake: OwnedFd,
}

impl SharedWay {
    fn new(spec: LinkSpec, chance: Chance) -> Result<Arc<SharedWay>, LabError> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC).map_err(LabError::io("making the link's event"))?;
        Ok(Arc::new(SharedWay { way: Mutex::new(Way::new(spec, chance)), stopping: false.into(), wake }))
    }

    fn lock(&self) -> MutexGuard<'_, Way> {
        // A way is numbers only; after a panic they are as good as before.
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        rustix::io::write(&self.wake, &1_u64.to_ne_bytes()).expect("an event counter takes a first event");
    }
}

/// A packet under way; the earliest due comes first, and of two due at once the one that came in first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    due: Instant,
    number: u64,
    packet: Vec<u8>,
}

/// What a device holds after a burst was taken from it.
enum Supply {
    /// Perhaps more packets.
    More,
    /// Nothing for now.
    Dry,
    /// Nothing ever again: somebody removed the device.
    Gone,
}

/// Moves packets in one direction, on a thread of its own.
struct Carrier {
    from: Arc<SyncDevice>,
    to: Arc<SyncDevice>,
    way: Arc<SharedWay>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    spare: Vec<Vec<u8>>,
    buffer: Vec<u8>,
    number: u64,
}

impl Carrier {
    fn new(from: Arc<SyncDevice>, to: Arc<SyncDevice>, way: Arc<SharedWay>) -> Carrier {
        let buffer = vec![0; usize::from(u16::MAX)];
        Carrier { from, to, way, under_way: BinaryHeap::new(), spare: Vec::new(), buffer, number: 0 }
    }

    fn run(mut self) {
        // Of this thread only. Where it is not allowed, the link is less precise on a busy machine, no more.
        let _not_allowed = setpriority_process(None, NICENESS);
        while !self.way.stopping.load(Ordering::Acquire) {
            let supply = self.take_in();
            self.let_out(Instant::now());
            match supply {
                Supply::More => {}
                Supply::Dry => self.wait(),
                Supply::Gone => return,
            }
        }
    }

    /// Takes in a burst of packets.
    fn take_in(&mut self) -> Supply {
        for _ in 0..BURST {
            let bytes = match self.from.recv(&mut self.buffer) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Supply::Dry,
                Err(_) => return Supply::Gone,
            };
            // The devices' own IPv6 chatter is none of the laboratory's traffic.
            if self.buffer[0] >> 4 == 4 {
                self.accept(bytes);
            }
        }
        Supply::More
    }

    fn accept(&mut self, bytes: usize) {
        let fate = {
            let mut way = self.way.lock();
            let fate = way.handle_packet(Instant::now(), bytes);
            if matches!(fate, Fate::Arrives { .. }) && self.under_way.len() >= MAX_UNDER_WAY {
                way.handle_overflow();
                return;
            }
            fate
        };
        if let Fate::Arrives { at, copy_at } = fate {
            self.enqueue(at, bytes);
            copy_at.into_iter().for_each(|at| self.enqueue(at, bytes));
        }
    }

    fn enqueue(&mut self, due: Instant, bytes: usize) {
        let mut packet = self.spare.pop().unwrap_or_default();
        packet.clear();
        packet.extend_from_slice(&self.buffer[..bytes]);
        self.number += 1;
        self.under_way.push(Reverse(UnderWay { due, number: self.number, packet }));
    }

    fn let_out(&mut self, now: Instant) {
        while self.under_way.peek().is_some_and(|Reverse(next)| next.due <= now) {
            let Some(Reverse(UnderWay { packet, .. })) = self.under_way.pop() else { return };
            // A device that is going away, or refuses, loses the packet as a wire would.
            let _lost = self.to.send(&packet);
            self.spare.push(packet);
        }
    }

    /// Sleeps until a packet comes in or is due, or the link shall end.
    fn wait(&self) {
        let timeout = self
            .under_way
            .peek()
            .map(|Reverse(next)| timespec(next.due.saturating_duration_since(Instant::now())));
        let mut ready = [
            PollFd::from_borrowed_fd(self.from.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.way.wake.as_fd(), PollFlags::IN),
        ];
        // An interrupted wait is only a shorter one.
        let _interrupted = poll(&mut ready, timeout.as_ref());
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs().cast_signed(), tv_nsec: duration.subsec_nanos().into() }
}

fn make_device(half: &Namespace, mtu: u16) -> Result<Arc<SyncDevice>, LabError> {
    let make = || -> io::Result<SyncDevice> {
        let builder = DeviceBuilder::new().name(LINK_INTERFACE).mtu(mtu).enable(false);
        let queued = builder.with(|linux| {
            linux.tx_queue_len(TX_QUEUE_PACKETS);
        });
        let device = queued.build_sync()?;
        device.set_nonblocking(true)?;
        Ok(device)
    };
    let device = half.enter(make)?.map_err(LabError::io("making a TUN device"))?;
    Ok(Arc::new(device))
}
