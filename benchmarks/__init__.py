"""How fast and how small comfysup is, beside its peers. Run by people, never by CI."""
