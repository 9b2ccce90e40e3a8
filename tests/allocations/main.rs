//! Serving allocates nothing for a read, and one cell at most for a write.
//!
//! One test runs all parts one after the other, so that nothing else allocates in this process meanwhile: what is
//! counted beside the calling thread's is the workers'.

mod coordinator;
mod counting_allocator;
mod protocol;
mod sockets;

use counting_allocator::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn serving_allocates_no_more_than_promised() {
    counting_allocator::exempt_this_thread();
    protocol::serving_requests_allocates_nothing();
    protocol::declared_counts_allocate_nothing();
    protocol::a_declared_length_is_not_allocated_by_the_client();
    coordinator::a_coordinator_allocates_nothing();
    for workers in [1, 2] {
        for dialect in [sockets::Dialect::Resp, sockets::Dialect::Native] {
            sockets::workers_allocate_only_cells_and_tables(workers, dialect);
        }
    }
}
