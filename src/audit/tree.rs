//! The Merkle tree over the journal's records (RFC 9162 2.1). [`Tree`] is its right edge, all that is needed to
//! add a leaf and to know the root; [`Nodes`] is whatever holds the rest, from which an [`inclusion_proof`] is made.
//! [`root_of_proof`] needs nothing but the proof.

use aws_lc_rs::digest::{self, SHA256};

use crate::wire::algorithm::sha256;

/// SHA-256.
pub type Hash = [u8; 32];

/// Leaves, or hashes, in a full tile (C2SP tlog-tiles).
pub const TILE_WIDTH: u64 = 256;

/// log2 of [`TILE_WIDTH`].
pub const TILE_HEIGHT: u32 = 8;

/// The hash of a leaf (RFC 9162 2.1.1).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    sha256(&[&[0], entry])
}

/// The hash of a node over its two children.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut both = [1; 65];
    for (to, from) in both.iter_mut().skip(1).zip(left.iter().chain(right)) {
        *to = *from;
    }
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(digest::digest(&SHA256, &both).as_ref()) {
        *to = *from;
    }
    hash
}

/// The root over nodes of equal height whose number is a power of two; of none at all, the empty tree's.
fn perfect_root(nodes: &[Hash]) -> Hash {
    let mut row = nodes.to_vec();
    while row.len() > 1 {
        row = row
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => node_hash(left, right),
                _ => pair.first().copied().unwrap_or_default(),
            })
            .collect();
    }
    row.first().copied().unwrap_or_else(|| sha256(&[]))
}

/// The right edge of a tree: of each row of tiles, the hashes in the last one, as long as it is not full.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    size: u64,
    rows: Vec<Vec<Hash>>,
}

/// A row of hashes that has become a full tile.
#[derive(Debug, PartialEq, Eq)]
pub struct FullTile {
    pub level: u8,
    pub index: u64,
    pub hashes: Vec<Hash>,
}

impl Tree {
    /// A tree of `size` leaves from the partial tiles of its right edge, the lowest first; `None` where a row
    /// has not as many hashes as the size says.
    pub fn from_edge(size: u64, rows: Vec<Vec<Hash>>) -> Option<Self> {
        let fits = widths(size).eq(rows.iter().map(Vec::len));
        fits.then_some(Self { size, rows })
    }

    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The partial tiles of the right edge, the lowest first; some may be empty.
    pub fn edge(&self) -> &[Vec<Hash>] {
        &self.rows
    }

    /// Adds a leaf; gives the tiles that it fills.
    pub fn push(&mut self, leaf: Hash) -> Vec<FullTile> {
        let mut full = Vec::new();
        self.size += 1;
        let mut hash = leaf;
        let mut covered = self.size;
        for level in 0u8.. {
            let at = usize::from(level);
            if self.rows.len() == at {
                self.rows.push(Vec::new());
            }
            let Some(row) = self.rows.get_mut(at) else {
                break;
            };
            row.push(hash);
            if !covered.is_multiple_of(TILE_WIDTH) {
                break;
            }
            covered /= TILE_WIDTH;
            hash = perfect_root(row);
            full.push(FullTile {
                level,
                index: covered - 1,
                hashes: std::mem::take(row),
            });
        }
        full
    }

    /// The root (RFC 9162 2.1.1).
    pub fn root(&self) -> Hash {
        // The perfect subtrees from left to right, that is, from the largest to the smallest.
        let mut peaks = Vec::new();
        for row in self.rows.iter().rev() {
            let mut rest = row.as_slice();
            while !rest.is_empty() {
                let (peak, more) = rest.split_at(1 << rest.len().ilog2());
                peaks.push(perfect_root(peak));
                rest = more;
            }
        }
        let folded = peaks
            .into_iter()
            .rev()
            .reduce(|right, left| node_hash(&left, &right));
        folded.unwrap_or_else(|| sha256(&[]))
    }
}

/// How many hashes stand in the partial tile of each row, the lowest first, in a tree of `size` leaves.
pub fn widths(size: u64) -> impl Iterator<Item = usize> {
    std::iter::successors((size > 0).then_some(size), |size| {
        Some(size / TILE_WIDTH).filter(|size| *size > 0)
    })
    .map(|size| usize::try_from(size % TILE_WIDTH).unwrap_or(0))
}

/// What holds the hashes of a tree.
pub trait Nodes {
    type Error;

    /// The hash over the leaves `index << height .. (index + 1) << height`, all of which exist.
    fn node(&mut self, height: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// The hash over `start..end`, where `start` is a multiple of the least power of two that is not under the
/// range's length, as it is for every node of a tree.
fn range_hash<N: Nodes>(nodes: &mut N, mut start: u64, end: u64) -> Result<Hash, N::Error> {
    let mut peaks = Vec::new();
    while start < end {
        let height = (end - start).ilog2();
        peaks.push(nodes.node(height, start >> height)?);
        start += 1 << height;
    }
    let folded = peaks
        .into_iter()
        .rev()
        .reduce(|right, left| node_hash(&left, &right));
    Ok(folded.unwrap_or_else(|| sha256(&[])))
}

/// The audit path of leaf `index` in the tree of `size` leaves, from the leaf's sibling up (RFC 9162 2.1.3.1).
/// Empty where there is no such leaf.
pub fn inclusion_proof<N: Nodes>(
    nodes: &mut N,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, N::Error> {
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    while index < size && end - start > 1 {
        // The largest power of two under the number of leaves.
        let left = 1 << (end - start - 1).ilog2();
        let middle = start + left;
        if index < middle {
            path.push(range_hash(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(range_hash(nodes, start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The root that an audit path leads to (RFC 9162 2.1.3.2); `None` where the path's length does not fit.
pub fn root_of_proof(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    let mut last = size.checked_sub(1).filter(|last| index <= *last)?;
    let mut at = index;
    let mut hash = leaf;
    for sibling in path {
        if last == 0 {
            return None;
        }
        if at % 2 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            while at.is_multiple_of(2) && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Leaves(Vec<Hash>);

    impl Nodes for Leaves {
        type Error = std::convert::Infallible;

        fn node(&mut self, height: u32, index: u64) -> Result<Hash, Self::Error> {
            let start = usize::try_from(index << height).unwrap();
            Ok(perfect_root(&self.0[start..start + (1 << height)]))
        }
    }

    fn leaves(count: u32) -> Vec<Hash> {
        (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    /// RFC 9162 2.1.1, word for word.
    fn mth(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(&[]),
            [one] => *one,
            _ => {
                let k = 1 << (leaves.len() - 1).ilog2();
                node_hash(&mth(&leaves[..k]), &mth(&leaves[k..]))
            }
        }
    }

    #[test]
    fn the_edge_knows_the_root_of_every_size() {
        let leaves = leaves(70_000);
        let mut tree = Tree::default();
        assert_eq!(tree.root(), mth(&[]));
        let mut full = Vec::new();
        for (count, leaf) in (1..).zip(&leaves) {
            full.extend(tree.push(*leaf));
            if count < 600 || [16_384, 65_535, 65_536, 65_537, 70_000].contains(&count) {
                assert_eq!(tree.root(), mth(&leaves[..count]), "{count}");
                let again = Tree::from_edge(tree.size(), tree.edge().to_vec()).unwrap();
                assert_eq!(again.root(), tree.root());
            }
        }
        // The example of the specification of tiles.
        assert_eq!(full.iter().filter(|tile| tile.level == 0).count(), 273);
        assert_eq!(full.iter().filter(|tile| tile.level == 1).count(), 1);
        assert_eq!(
            tree.edge().iter().map(Vec::len).collect::<Vec<_>>(),
            [112, 17, 1]
        );
        assert!(Tree::from_edge(70_001, tree.edge().to_vec()).is_none());
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_proved_and_no_other() {
        let all = leaves(40);
        for size in 1..=40u64 {
            let mut nodes = Leaves(all.clone());
            let root = mth(&all[..usize::try_from(size).unwrap()]);
            for (index, leaf) in (0..size).zip(&all) {
                let path = inclusion_proof(&mut nodes, index, size).unwrap();
                assert_eq!(root_of_proof(*leaf, index, size, &path), Some(root));
                assert_ne!(
                    root_of_proof(all[39], index, size, &path),
                    Some(root).filter(|_| index != 39)
                );
                let longer = [path.as_slice(), &[[0; 32]]].concat();
                assert_eq!(root_of_proof(*leaf, index, size, &longer), None);
                if let Some((_, shorter)) = path.split_last() {
                    assert_ne!(root_of_proof(*leaf, index, size, shorter), Some(root));
                }
            }
            assert_eq!(root_of_proof(all[0], size, size, &[]), None);
        }
    }
}
