//! Parameters that several operations have, in the document.
//!
//! None has a default: some generated clients would send it, where it means something else than
//! nothing, or is refused.
#![expect(dead_code, reason = "handlers take paths and queries apart by hand")]

use utoipa::IntoParams;

use super::values;

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct Peer {
    /// The peer's id.
    #[param(value_type = values::PeerId)]
    id: u64,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct Semaphore {
    /// The semaphore's name.
    #[param(example = "A")]
    semaphore: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// How many entries to leave out, 0 unless given.
    #[param(maximum = 4_294_967_295_u32)]
    offset: Option<usize>,
    /// How many entries to list at most, 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}
