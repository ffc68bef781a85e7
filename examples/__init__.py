"""The reference stack around the proxy: media and product services, a GraphQL gateway, and a demo that runs all."""
