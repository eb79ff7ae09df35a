"""Speed and memory use of comfysup, compared with its peers. Run by hand, not in CI."""
