//! A generational slab in chunks: a key of a removed entry never finds its successor, growing copies nothing, and a
//! chunk whose entries have all gone gives its memory back.

use std::collections::BTreeSet;
use std::fmt;

const CHUNK: usize = 128;

/// Names one entry for as long as it lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// Where it is; reused after removal.
    pub(crate) index: u32,
    /// Which of the entries that were there; never reused within 2^32 insertions.
    pub(crate) generation: u32,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.index, self.generation)
    }
}

struct Chunk<T> {
    slots: Vec<Option<(u32, T)>>,
    used: usize,
}

/// The slab.
pub(crate) struct Slab<T> {
    chunks: Vec<Option<Chunk<T>>>,
    free: BTreeSet<u32>,
    next_generation: u32,
    len: usize,
}

impl<T> Slab<T> {
    /// An empty slab without memory.
    #[must_use]
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new(), free: BTreeSet::new(), next_generation: 0, len: 0 }
    }

    /// How many entries there are.
    #[must_use]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an entry at the lowest free place.
    pub(crate) fn insert(&mut self, value: T) -> Key {
        self.insert_with(|_| value)
    }

    /// The same for an entry that knows its key.
    pub(crate) fn insert_with(&mut self, value: impl FnOnce(Key) -> T) -> Key {
        if self.free.is_empty() {
            self.grow();
        }
        let index = self.free.pop_first().expect("grow leaves free places");
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        let (chunk, slot) = place(index);
        let key = Key { index, generation };
        let chunk = self.chunks[chunk].as_mut().expect("a free place is in a chunk");
        chunk.slots[slot] = Some((generation, value(key)));
        chunk.used += 1;
        self.len += 1;
        key
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let (at, slot) = place(key.index);
        let chunk = self.chunks.get_mut(at)?.as_mut()?;
        if !matches!(&chunk.slots[slot], Some((generation, _)) if *generation == key.generation) {
            return None;
        }
        let (_, value) = chunk.slots[slot].take()?;
        chunk.used -= 1;
        self.len -= 1;
        if chunk.used == 0 {
            self.chunks[at] = None;
            let first = key.index - slot as u32;
            for index in first..first + CHUNK as u32 {
                self.free.remove(&index);
            }
        } else {
            self.free.insert(key.index);
        }
        Some(value)
    }

    /// Finds an entry.
    #[must_use]
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let (chunk, slot) = place(key.index);
        match self.chunks.get(chunk)?.as_ref()?.slots[slot].as_ref() {
            Some((generation, value)) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// Finds an entry to change it.
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (chunk, slot) = place(key.index);
        match self.chunks.get_mut(chunk)?.as_mut()?.slots[slot].as_mut() {
            Some((generation, value)) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// All keys, in the order of their index.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.chunks.iter().enumerate().filter_map(|(at, chunk)| Some((at, chunk.as_ref()?))).flat_map(
            |(at, chunk)| {
                chunk.slots.iter().enumerate().filter_map(move |(slot, entry)| {
                    let (generation, _) = entry.as_ref()?;
                    Some(Key { index: (at * CHUNK + slot) as u32, generation: *generation })
                })
            },
        )
    }

    fn grow(&mut self) {
        let mut slots = Vec::new();
        slots.resize_with(CHUNK, || None);
        let chunk = Some(Chunk { slots, used: 0 });
        let at = match self.chunks.iter().position(Option::is_none) {
            Some(at) => {
                self.chunks[at] = chunk;
                at
            }
            None => {
                self.chunks.push(chunk);
                self.chunks.len() - 1
            }
        };
        let first = (at * CHUNK) as u32;
        self.free.extend(first..first + CHUNK as u32);
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Slab<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slab({} entries)", self.len)
    }
}

fn place(index: u32) -> (usize, usize) {
    (index as usize / CHUNK, index as usize % CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_key_never_finds_the_next_entry() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_eq!(second.index, first.index, "places are reused");
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
    }

    #[test]
    fn an_empty_chunk_gives_its_memory_back() {
        let mut slab = Slab::new();
        let keys: Vec<Key> = (0..3 * CHUNK).map(|i| slab.insert(i)).collect();
        assert_eq!(slab.keys().count(), 3 * CHUNK);
        for key in &keys[CHUNK..] {
            slab.remove(*key);
        }
        assert_eq!(slab.chunks.iter().flatten().count(), 1);
        let again = slab.insert(7);
        assert_eq!((slab.get(again), slab.len()), (Some(&7), CHUNK + 1));
    }
}
