"""Example runs made by the project itself, and the data set that they were trained on."""
