KIND = "vm"
