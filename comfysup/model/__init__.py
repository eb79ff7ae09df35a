"""What every other room may import: facts and texts, with nothing behind them."""
