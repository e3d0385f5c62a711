"""The price of a GPU hour, as a cluster's pod is told it."""

VARIABLE = "PROGAN_GPU_HOUR_PRICE"  # such as "1.8 USD"
