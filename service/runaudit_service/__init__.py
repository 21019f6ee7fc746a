"""The front desk: takes runs in over HTTP, queues their audits, and answers for them."""
