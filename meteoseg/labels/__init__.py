"""Label images in the making: parting of objects, components, how sure the networks are."""
