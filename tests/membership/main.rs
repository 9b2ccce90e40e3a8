//! Membership: what the machine orders, and what a cluster of them comes to under faults, in virtual time.
//!
//! `orders` compares whole lists of orders.

mod orders;
