"""What a scale would cost: parameters, FLOPs, memory, hours, disk and money, from the settings that train."""
