//! Random faults: every session survives them.

use sim::Plan;

/// Sessions; `cargo bench --bench sessions` runs more.
const SEEDS: u64 = 200;

#[test]
fn a_session_survives_whatever_happens_to_it() {
    let failed = (0..SEEDS).find_map(|seed| Plan::draw(seed).run().err().map(|why| (seed, why)));
    if let Some((seed, why)) = failed {
        let plan = Plan::draw(seed).shrink(&why);
        panic!("seed {seed}: {why}\nwithout what does not matter: {plan}");
    }
}
