//! Small objects that cost a request each: where the store is elsewhere, several are asked for at a time.

use std::{panic::resume_unwind, thread};

use super::repository::Repository;

/// How many are under way. Each is a thread for the time of its request.
const AT_ONCE: usize = 16;

impl Repository {
    /// What `read` makes of each of `things`, in their order; who stops early has paid for a few more at most.
    pub fn read_each<'a, T: Sync, U: Send>(
        &self,
        things: &'a [T],
        read: impl Fn(&'a T) -> U + Sync,
    ) -> impl Iterator<Item = U> {
        let some = things.chunks(self.read_at_once());
        some.flat_map(move |some| at_once(some, &read))
    }

    /// How many things are worth being read at once: of a disk of this host, no more than one.
    pub fn read_at_once(&self) -> usize {
        match self.location().folder() {
            Some(_) => 1,
            None => AT_ONCE,
        }
    }
}

fn at_once<'a, T: Sync, U: Send>(things: &'a [T], read: &(impl Fn(&'a T) -> U + Sync)) -> Vec<U> {
    if let [one] = things {
        return vec![read(one)];
    }
    thread::scope(|scope| {
        let start = |thing| scope.spawn(move || read(thing));
        let running: Vec<_> = things.iter().map(start).collect();
        let ended = running.into_iter().map(|one| one.join());
        ended
            .map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    /// Would wait for ever if one came after the other.
    #[test]
    fn all_are_under_way_together_and_come_in_their_order() {
        let all = Barrier::new(AT_ONCE);
        let things: Vec<usize> = (0..AT_ONCE).collect();
        let read = at_once(&things, &|thing: &usize| {
            all.wait();
            thing + 1
        });
        assert!(read.into_iter().eq(1..=AT_ONCE));
    }
}
