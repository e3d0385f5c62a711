"""What a run would do, for how long and at what price: behind `progan plan` and `progan retrain`."""
