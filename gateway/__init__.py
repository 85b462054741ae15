"""HTTP and JSON to gRPC, by descriptors alone: nothing here is about one endpoint."""
