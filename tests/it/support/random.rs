//! A small generator of random numbers, so that a printed seed repeats a run.

pub(crate) struct Random(u64);

impl Random {
    /// From `SUPPRESSD_SEED`, or else from the clock.
    pub(crate) fn new() -> Random {
        let clock = || suppressd::clock::now().nanos() as u64;
        let given = std::env::var("SUPPRESSD_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(clock);
        println!("SUPPRESSD_SEED={seed}");
        Random(seed)
    }

    /// From a seed.
    pub(crate) fn of(seed: u64) -> Random {
        Random(seed)
    }

    /// Another generator, whose numbers have nothing to do with this one's.
    pub(crate) fn fork(&mut self) -> Random {
        Random(self.below(u64::from(u32::MAX)) << 32 | self.below(u64::from(u32::MAX)))
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }

    /// Whether something happens that does so in `percent` of all cases.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }
}
