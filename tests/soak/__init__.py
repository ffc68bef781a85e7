"""What only shows after very many calls: whether the proxy keeps anything of a call that is over."""
