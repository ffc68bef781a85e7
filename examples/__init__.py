"""The reference stack around the proxy: a media service, a GraphQL gateway and a demo that runs all of it."""
