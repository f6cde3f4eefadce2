//! Floor 4: carrying an admitted request to its upstream and the answer back, both streamed.

pub mod request_out;
pub mod response_in;
pub mod send;
pub mod upgrade;
