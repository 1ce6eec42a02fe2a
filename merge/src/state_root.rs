pub struct Leaf;
pub fn state_root(_: impl IntoIterator<Item = Leaf>) -> [u8; 32] { [0; 32] }
